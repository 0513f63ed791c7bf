"""One folder with everything an installation cannot do without, and an installation from one folder.

The database of one moment, the service's key, the TUF repository with its bundles, and MLflow's embedded
store. Each file's SHA-256 stands in `backup.json`, which is written last: a folder without it is no backup.
Nothing is restored before all of it was verified, and nothing is restored over what is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy.exc import DBAPIError

from acclimate.errors import RolloutError
from acclimate.files import scratch_file, scratch_folder, sqlite_file
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store.database import Database, unreachable
from acclimate.rollout.store.dump import Dump, dump, load

MANIFEST = "backup.json"
FORMAT = 1
DATABASE, KEY, TUF, TARGETS = "database", "service-key.pem", "tuf", "tuf/targets"
MLFLOW, ARTIFACTS = "mlflow.db", "artifacts"
_CHUNK = 1 << 20

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Backup:
    """What a backup's `backup.json` says.

    Attributes:
        created_at: Unix seconds.
        revision: of the database's schema.
        rows: of each table.
        files: SHA-256 of every other file, by path.
        left_out: parts that lie elsewhere, and where.
    """

    created_at: float
    revision: str
    rows: dict[str, int]
    files: dict[str, str]
    left_out: dict[str, str]
    format: int = FORMAT


def back_up(settings: ServiceSettings, folder: Path, now: float, tell: Tell) -> Backup:
    """Write a backup; the service may go on meanwhile. One that was interrupted is begun anew.

    Raises:
        RolloutError: `folder` exists, the database cannot be read, or the disk is full.
    """
    if folder.exists():
        raise RolloutError(f"{folder} exists already: name another folder")
    try:
        with scratch_folder(folder, mode=0o700) as scratch:
            backup = _written(settings, scratch, now, tell)
            (scratch / MANIFEST).write_text(json.dumps(asdict(backup), indent=2))
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or folder})"
        raise RolloutError(f"the backup was not written: {reason}") from error
    return backup


def verify(folder: Path) -> Backup:
    """What a backup holds, after every byte of it was compared.

    Raises:
        RolloutError: it is no backup, or one of its files is missing or damaged.
    """
    try:
        given = json.loads((folder / MANIFEST).read_bytes())
        backup = Backup(**given)
    except (OSError, ValueError, TypeError) as error:
        raise RolloutError(
            f"{folder} is no backup ({error}): name a folder that `acclimate backup` wrote"
        ) from None
    if backup.format != FORMAT:
        raise RolloutError(
            f"{folder} has format {backup.format}, this version reads {FORMAT}: update Acclimate"
        )
    for path, expected in backup.files.items():
        try:
            found = _digest(_within(folder, path))
        except OSError as error:
            raise RolloutError(f"{path} of the backup cannot be read: {error.strerror}") from None
        if found != expected:
            raise RolloutError(f"{path} of the backup is damaged: use another backup")
    return backup


def restore(folder: Path, settings: ServiceSettings, tell: Tell) -> Backup:
    """An installation from a backup, at `settings.home` and `settings.database`, both of them empty.

    Files first, the database last and in one transaction: a restore that was interrupted is run again.

    Raises:
        RolloutError: the backup is damaged, something is there already, or the disk is full.
    """
    tell("verify")
    backup = verify(folder)
    places = {path: _target(settings, path) for path in backup.files if not path.startswith(f"{DATABASE}/")}
    for path, target in places.items():
        if target.exists() and _digest(target) != backup.files[path]:
            raise RolloutError(f"{target} exists and is another one: restore with another --home")
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        tell("files")
        for path, target in places.items():
            if not target.exists():  # what is there is the same, and keeps its owner and rights
                _copy(folder / path, target)
    except OSError as error:
        raise RolloutError(f"the restore stopped: {error.strerror or error} ({error.filename})") from error
    tell("database")
    database = Database.connect(settings.database)
    try:
        load(database, folder / DATABASE, Dump(backup.revision, backup.rows))
    except DBAPIError as error:
        raise unreachable(settings.database, error) from error
    finally:
        database.close()
    return backup


def _written(settings: ServiceSettings, folder: Path, now: float, tell: Tell) -> Backup:
    tell("database")
    file = sqlite_file(settings.database)
    if file is not None and not file.is_file():
        raise RolloutError(f"there is no {settings.database}: name the service's --home or --database-url")
    database = Database.connect(settings.database)
    try:
        dumped = dump(database, folder / DATABASE)
    except DBAPIError as error:
        raise unreachable(settings.database, error) from error
    finally:
        database.close()
    tell("files")
    left_out: dict[str, str] = {}
    if settings.key_file.is_file():
        _copy(settings.key_file, folder / KEY)
    else:
        left_out[KEY] = str(settings.key_file)
    _copy_repository(settings, folder, left_out)
    _copy_mlflow(settings, folder, left_out)
    files = {str(path.relative_to(folder)): _digest(path) for path in sorted(_files(folder))}
    return Backup(now, dumped.revision, dumped.rows, files, left_out)


def _copy_repository(settings: ServiceSettings, folder: Path, left_out: dict[str, str]) -> None:
    """Timestamps first: what they name never changes, so what is published meanwhile only comes on top."""
    timestamps = [path for path in _files(settings.tuf) if path.name == "timestamp.json"]
    for path in timestamps:
        _copy(path, folder / TUF / path.relative_to(settings.tuf))
    targets = _local(settings.artifacts)
    inside = targets is not None and targets.is_relative_to(settings.tuf)
    for path in (path for path in _files(settings.tuf) if path not in timestamps):
        _copy(path, folder / TUF / path.relative_to(settings.tuf))
    if targets is None:
        left_out[TARGETS] = settings.artifacts
    elif not inside:
        for path in _files(targets):
            _copy(path, folder / TARGETS / path.relative_to(targets))


def _copy_mlflow(settings: ServiceSettings, folder: Path, left_out: dict[str, str]) -> None:
    store = settings.home / MLFLOW
    if settings.registry_uri and str(store) not in settings.registry_uri:
        left_out["mlflow"] = settings.registry_uri.split("@")[-1]
    elif store.is_file():
        with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(folder / MLFLOW)) as copy:
            source.backup(copy)
        for path in _files(settings.home / ARTIFACTS):
            _copy(path, folder / ARTIFACTS / path.relative_to(settings.home / ARTIFACTS))


def _target(settings: ServiceSettings, path: str) -> Path:
    """Where a file of the backup belongs."""
    if path == KEY:
        return settings.key_file
    targets = _local(settings.artifacts)
    if path.startswith(f"{TARGETS}/") and targets is not None:
        return _within(targets, path.removeprefix(f"{TARGETS}/"))
    if path.startswith(f"{TUF}/"):
        return _within(settings.tuf, path.removeprefix(f"{TUF}/"))
    return _within(settings.home, path)


def _local(url: str) -> Path | None:
    """The folder behind an fsspec URL; None for another kind of store."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "file", "local"):
        return None
    return Path(unquote(parts.path))


def _within(folder: Path, path: str) -> Path:
    found = folder / path
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise RolloutError(f"{path!r} in the backup leads out of it: do not trust this backup")
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Every file but locks and drafts, whose names begin with a dot."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, readable by its owner alone."""
    with (
        scratch_file(target, mode=0o600) as scratch,
        source.open("rb") as original,
        scratch.open("wb") as copy,
    ):
        shutil.copyfileobj(original, copy, _CHUNK)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
