"""A backup is all of it, of one moment, verified; an installation comes back from it."""

import json
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.operator.operators import first_admin
from acclimate.rollout.backup import back_up, restore, verify
from acclimate.rollout.backup_series import back_up_into
from acclimate.rollout.server import prepare
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import Store, open_store
from tests.support.rollout_samples import NEW, NOW, OLD, a_device, a_fleet, a_report, a_rollout
from tests.support.together import at_once


def quiet(step: str) -> None: ...


@pytest.fixture
def lived_in(tmp_path: Path):
    """A service's home with something of everything, its database open and its last writes in the WAL."""
    settings = ServiceSettings(home=tmp_path / "home")
    store = prepare(settings)
    fill(store)
    ServiceKey.load_or_create(settings.key_file)
    for path in ("metadata/timestamp.json", "metadata/1.root.json", "targets/gait/1/ab.predict.onnx"):
        file = settings.tuf / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    yield settings, store
    store.close()


def fill(store: Store) -> None:
    store.add_fleet(a_fleet(), "ada")
    store.add_devices([a_device(number, attributes={"site": "Å\x01"}) for number in range(30)], NOW, "ada")
    store.set_baseline("home", "", OLD, NOW, "ada")
    store.add_rollout(a_rollout(), "ada")
    store.add_reports([a_report(f"device-{number:05d}", number, release=NEW) for number in range(30)])
    store.secret("shared", b"\x00\xff")
    first_admin(store, "", NOW)


def everything(store: Store) -> list[object]:
    return [
        *(
            store.fleets(),
            store.members("home"),
            store.rollouts(),
            store.reports_after("home", 0),
            store.counts("home"),
        ),
        *(
            store.audit(limit=1000),
            store.api_tokens(),
            store.secret("shared", b""),
            store.given_releases("home"),
        ),
    ]


def test_an_installation_comes_back_from_a_backup_made_while_it_ran(lived_in, tmp_path: Path):
    settings, store = lived_in
    written = back_up(settings, tmp_path / "backup", NOW, quiet)
    assert verify(tmp_path / "backup") == written
    assert written.left_out == {}
    fresh = ServiceSettings(home=tmp_path / "restored")
    restore(tmp_path / "backup", fresh, quiet)
    again = prepare(fresh)
    assert everything(again) == everything(store)
    before = again.last_sequence("home")
    again.add_reports([a_report("device-00001", 99)])
    assert again.last_sequence("home") > before
    again.close()
    assert fresh.key_file.read_bytes() == settings.key_file.read_bytes()
    assert (fresh.tuf / "targets/gait/1/ab.predict.onnx").read_text() == "targets/gait/1/ab.predict.onnx"


def test_nothing_is_restored_over_what_is_there_and_a_restore_can_be_repeated(lived_in, tmp_path: Path):
    settings, _ = lived_in
    backup = tmp_path / "backup"
    back_up(settings, backup, NOW, quiet)
    with pytest.raises(RolloutError, match="exists already"):
        back_up(settings, backup, NOW, quiet)
    with pytest.raises(RolloutError, match=r"rows of \w+ already"):
        restore(backup, settings, quiet)
    fresh = ServiceSettings(home=tmp_path / "restored")
    fresh.home.mkdir()
    shutil.copy(backup / "service-key.pem", fresh.key_file)  # as far as a first attempt came
    restore(backup, fresh, quiet)
    other = ServiceSettings(home=tmp_path / "other")
    ServiceKey.load_or_create(other.key_file)
    with pytest.raises(RolloutError, match="is another one"):
        restore(backup, other, quiet)


@pytest.mark.parametrize("damage", ["flip", "remove", "unfinished", "escape"])
def test_a_damaged_backup_is_refused_before_anything_is_restored(damage: str, lived_in, tmp_path: Path):
    settings, _ = lived_in
    backup = tmp_path / "backup"
    back_up(settings, backup, NOW, quiet)
    file = backup / "database" / "reports.jsonl.gz"
    if damage == "flip":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "remove":
        file.unlink()
    elif damage == "unfinished":
        (backup / "backup.json").unlink()
    else:
        manifest = json.loads((backup / "backup.json").read_text())
        manifest["files"]["../../evil"] = "0" * 64
        (backup / "backup.json").write_text(json.dumps(manifest))
    fresh = ServiceSettings(home=tmp_path / "restored")
    with pytest.raises(RolloutError, match=r"damaged|cannot be read|is no backup|leads out"):
        restore(backup, fresh, quiet)
    assert not fresh.home.exists()


def test_a_full_disk_leaves_no_half_backup(lived_in, tmp_path: Path, monkeypatch):
    settings, _ = lived_in

    def full(*given):
        raise OSError(28, "No space left on device", "backup")

    monkeypatch.setattr("acclimate.rollout.backup.shutil.copyfileobj", full)
    with pytest.raises(RolloutError, match="No space left on device"):
        back_up(settings, tmp_path / "backup", NOW, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_the_file_alone_is_whole_after_an_orderly_stop(lived_in, tmp_path: Path):
    settings, store = lived_in
    before = everything(store)
    store.close()
    copy = tmp_path / "copy.db"
    shutil.copy(settings.home / "rollout.db", copy)
    opened = open_store(f"sqlite:///{copy}")
    assert everything(opened) == before
    opened.close()


def test_a_copy_that_left_its_data_behind_is_refused(tmp_path: Path, lived_in):
    shell = tmp_path / "shell.db"
    sqlite3.connect(shell).execute("PRAGMA journal_mode=WAL").close()
    assert shell.stat().st_size == 4096
    with pytest.raises(RolloutError, match=r"left the data behind in shell\.db-wal"):
        open_store(f"sqlite:///{shell}")
    (tmp_path / "text.db").write_text("not a database at all, but long enough to look at" * 10)
    with pytest.raises(RolloutError, match="no SQLite database"):
        open_store(f"sqlite:///{tmp_path / 'text.db'}")


def test_what_the_service_makes_is_its_owners_alone(tmp_path: Path):
    settings = ServiceSettings(home=tmp_path / "home")
    store = prepare(settings)
    fill(store)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.home.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert settings.exposed == {}
    store.close()


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o2770])
def test_what_was_there_keeps_its_rights_and_is_named(mode: int, tmp_path: Path):
    settings = ServiceSettings(home=tmp_path / "home")
    settings.home.mkdir()
    settings.home.chmod(mode)
    database = settings.home / "rollout.db"
    database.touch()
    database.chmod(0o664)
    store = prepare(settings)
    fill(store)
    assert stat.S_IMODE(settings.home.stat().st_mode) == mode
    assert stat.S_IMODE(database.stat().st_mode) == 0o664
    expected = {0o1777: {settings.home: "write"}, 0o755: {settings.home: "read"}, 0o2770: {}}[mode]
    assert settings.exposed == {**expected, database: "read"}
    store.close()


def test_a_restore_leaves_what_is_there_as_it_is(lived_in, tmp_path: Path):
    settings, _ = lived_in
    back_up(settings, tmp_path / "backup", NOW, quiet)
    fresh = ServiceSettings(home=tmp_path / "restored")
    fresh.home.mkdir()
    fresh.home.chmod(0o1777)
    shutil.copy(settings.key_file, fresh.key_file)
    fresh.key_file.chmod(0o640)
    restore(tmp_path / "backup", fresh, quiet)
    assert stat.S_IMODE(fresh.home.stat().st_mode) == 0o1777
    assert stat.S_IMODE(fresh.key_file.stat().st_mode) == 0o640


def test_a_database_of_something_else_is_refused_and_stays_as_it_is(tmp_path: Path):
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE sessions (id TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    other.chmod(0o644)
    before = other.read_bytes(), other.stat()
    with pytest.raises(RolloutError, match=r"other\.db has tables of something else \(alembic_version, ses"):
        open_store(f"sqlite:///{other}")
    assert (other.read_bytes(), other.stat().st_mode) == (before[0], before[1].st_mode)
    with pytest.raises(RolloutError, match="/dev/null is no file"):
        open_store("sqlite:////dev/null")


def test_of_replicas_that_start_together_one_makes_the_first_administrator(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'rollout.db'}"
    open_store(url).close()
    stores = [open_store(url) for _ in range(4)]
    told = at_once(lambda one: first_admin(one, "", NOW), stores)
    assert len([token for token in told if token]) == 1
    assert len(stores[0].api_tokens()) == 1
    for store in stores:
        store.close()


def test_a_series_keeps_the_newest_whole_backups_and_nothing_else_is_touched(lived_in, tmp_path: Path):
    settings, _ = lived_in
    folder = tmp_path / "backups"
    for day in range(4):
        made = back_up_into(settings, folder, NOW + day * 86_400, 2, quiet)
        assert verify(made.folder) == made.backup
        if day == 0:
            (folder / "by-hand").mkdir()
            (folder / "20200101T000000Z").mkdir()  # was interrupted: no backup
    assert len(made.deleted) == 1
    kept = sorted(path.parent.name for path in folder.glob("*/backup.json"))
    assert len(kept) == 2
    assert kept[-1] == made.folder.name
    assert (folder / "by-hand").is_dir()
    assert (folder / "20200101T000000Z").is_dir()


def test_a_series_on_a_full_disk_deletes_nothing(lived_in, tmp_path: Path, monkeypatch):
    settings, _ = lived_in
    folder = tmp_path / "backups"
    first = back_up_into(settings, folder, NOW, 1, quiet)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "service-key.pem")

    monkeypatch.setattr("acclimate.rollout.backup._copy", full)
    with pytest.raises(RolloutError, match="No space left on device"):
        back_up_into(settings, folder, NOW + 1, 1, quiet)
    assert verify(first.folder) == first.backup
