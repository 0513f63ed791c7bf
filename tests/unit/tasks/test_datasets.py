"""Named data sets, in the reduced form and as the publishers' archives have them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from acclimate.errors import DataError
from acclimate.tasks import EpisodePlan, Sinusoids, TaskPool, open_dataset, open_tasks, split_tasks
from acclimate.tasks.datasets import gas_drift, omniglot, parking, wisdm
from tests.support.recordings import DATA, recorded


@pytest.fixture
def opened(tmp_path):
    def open_one(name: str, data_dir: Path = DATA, **options: object) -> TaskPool:
        pool = open_dataset(name, data_dir=data_dir, pool_dir=tmp_path / "pools", **options)
        assert isinstance(pool, TaskPool)
        return pool

    return open_one


def same_pools(one: TaskPool, other: TaskPool, tolerance: float = 0.0) -> None:
    assert one.task_ids == other.task_ids
    assert one.schema == other.schema
    np.testing.assert_array_equal(one.starts, other.starts)
    np.testing.assert_allclose(one.values, other.values, atol=tolerance, rtol=1e-6)


def test_names_and_options_are_checked(opened):
    with pytest.raises(DataError, match="did you mean 'parking'"):
        opened("parkin")
    with pytest.raises(DataError, match="did you mean 'window'"):
        opened("watch", windo=3)
    with pytest.raises(DataError, match="mode is 'guess'"):
        opened("parking", mode="guess")
    with pytest.raises(DataError, match="did you mean 'watch'"):
        open_tasks("wach")
    assert isinstance(open_tasks("sinusoid", options={"tasks": 7}), Sinusoids)


def test_pools_of_different_options_live_side_by_side(opened):
    two, three = opened("watch", window=100), opened("watch", window=150)
    assert two.path != three.path
    assert opened("watch", window=100).path == two.path
    assert (two.input_shape, three.input_shape) == ((6, 100), (6, 150))


def test_parking_predicts_the_rate_from_the_clock(opened):
    recorded("parking_birmingham30", "parking.parquet")
    pool = opened("parking")
    assert len(pool.task_ids) == 28
    task = pool.index("BHMBCCMKT01")
    first = pool.rows[task]
    assert pool.targets[first, 0] == pytest.approx(61 / 577)
    assert pool.values[first, 0] == pytest.approx(7 + 59 / 60 + 42 / 3600)
    assert pool.values[first, 1:].tolist() == [0, 1, 0, 0, 0, 0, 0]  # 2016-10-04 was a Tuesday
    assert pool.targets.min() >= 0
    assert pool.targets.max() <= 1


def test_parking_forecasts_count_half_hours_of_opening(opened):
    recorded("parking_birmingham30", "parking.parquet")
    pool = opened("parking", mode="forecast", window=3, horizon=2)
    assert pool.info.schema.seasons == (18, 126)
    assert set(np.diff(pool.rows)) == {77 * 18}
    row = pool.rows[pool.index("BHMBCCMKT01")]
    assert pool.values[row, 0] == pytest.approx(61 / 577)
    hours = pool.times[row : row + 19] % 86_400 / 3600
    assert hours.tolist() == [8 + slot / 2 for slot in range(18)] + [8.0]
    profile = opened("parking")
    assert np.nanmean(pool.targets) == pytest.approx(profile.targets.mean(), abs=0.01)
    sampler = pool.sampler(np.arange(28), EpisodePlan(5, 5))
    assert sampler.outputs == 2


def test_parking_reads_the_publishers_archive(opened, tmp_path):
    reduced = pq.read_table(recorded("parking_birmingham30", "parking.parquet"))
    time = pc.strftime(reduced["time"], "%Y-%m-%d %H:%M:%S")
    rows = zip(
        *(reduced[name].to_pylist() for name in ("car_park", "capacity", "occupancy")),
        time.to_pylist(),
        strict=True,
    )
    lines = [",".join(map(str, row)) for row in rows]
    lines += lines[:216]  # the original repeats some rows
    with zipfile.ZipFile(tmp_path / "parking+birmingham.zip", "w") as archive:
        archive.writestr(
            "dataset.csv", "SystemCodeNumber,Capacity,Occupancy,LastUpdated\n" + "\n".join(lines)
        )
    same_pools(opened("parking"), opened("parking", tmp_path))


def test_gas_drift_reads_both_published_forms(opened, tmp_path):
    batch, gas, values = gas_drift.read(recorded("gas_drift", "gas_batches.parquet"))
    for folder, head in (("plain", "{}"), ("concentrations", "{};10.000000")):
        (tmp_path / folder).mkdir()
        name = gas_drift.FORMS[1][0] if folder == "plain" else gas_drift.FORMS[2][0]
        with zipfile.ZipFile(tmp_path / folder / name, "w") as archive:
            for number in np.unique(batch):
                lines = [
                    " ".join([head.format(one), *(f"{i + 1}:{value!s}" for i, value in enumerate(row))])
                    for one, row in zip(gas[batch == number][::7], values[batch == number][::7], strict=True)
                ]
                archive.writestr(f"Dataset/batch{number}.dat", "\n".join(lines))
    plain, other = opened("gas-drift", tmp_path / "plain"), opened("gas-drift", tmp_path / "concentrations")
    same_pools(plain, other)
    whole = opened("gas-drift")
    assert (
        plain.task_ids
        == whole.task_ids
        == tuple(f"batch-{number:02d}" for number in (1, 2, 3, 4, 5, 6, 8, 9))
    )
    for task in range(8):
        np.testing.assert_allclose(
            plain.values[plain.rows[task] : plain.rows[task + 1]],
            whole.values[whole.rows[task] : whole.rows[task + 1] : 7],
            rtol=1e-6,
        )
    assert whole.schema.labels == gas_drift.GASES


def test_wisdm_reads_the_publishers_archive(opened, tmp_path):
    raw = pq.read_table(recorded("wisdm51", "raw_watch_accel_20hz.parquet"))
    raw = raw.filter(
        pc.and_(pc.is_in(raw["subject"], pc.cast([1600, 1601], "int16")), pc.less(raw["t_ms"], 20_000))
    )
    features = pq.read_table(recorded("wisdm51", "features_phone_accel.parquet"))
    features = features.filter(pc.is_in(features["subject"], pc.cast([1600, 1602], "int16")))
    reduced, original = tmp_path / "reduced", tmp_path / "original"
    reduced.mkdir()
    original.mkdir()
    pq.write_table(raw, reduced / "raw_watch_accel_20hz.parquet")
    pq.write_table(features, reduced / "features_phone_accel.parquet")
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for subject, rows in raw.to_pandas().groupby("subject"):
            lines = [
                f"{subject},{row.activity},{252_207_918_580_802 + row.t_ms * 1_000_000},"
                f"{row.x / 1e3},{row.y / 1e3},{row.z / 1e3};"
                for row in rows.itertuples()
            ]
            archive.writestr(
                f"wisdm-dataset/raw/watch/accel/data_{subject}_accel_watch.txt", "\n".join(lines) + "\n"
            )
        for subject, rows in features.to_pandas().groupby("subject"):
            header = "\n".join(f'@attribute "{name}" numeric' for name in wisdm.FEATURES)
            lines = [
                ",".join([row[1], *(repr(float(one)) for one in row[2:]), "1610"])
                for row in rows.itertuples(index=False, name=None)
            ]
            archive.writestr(
                f"wisdm-dataset/arff_files/phone/accel/data_{subject}_accel_phone.arff",
                f'@relation x\n\n@attribute "ACTIVITY" {{ A, B}}\n{header}\n\n@data\n\n'
                + "\n".join(lines)
                + "\n",
            )
    with zipfile.ZipFile(original / wisdm.ARCHIVE, "w") as archive:
        archive.writestr("wisdm-dataset.zip", inner.getvalue())
    for signal in ("raw", "phone"):
        one, other = (opened("wisdm", folder, signal=signal) for folder in (reduced, original))
        same_pools(one, other, tolerance=1e-4)
    assert one.task_ids == ("1600", "1602")


def test_omniglot_images_equal_those_of_the_archives(tmp_path):
    names, images = omniglot.read([recorded("omniglot", "omniglot28_bits.npz")])
    assert images.shape == (32_460, 28, 28)
    subset = tmp_path / "images_background.zip"
    wanted = "images_background/Greek/character0"
    with (
        zipfile.ZipFile(recorded("omniglot", "images_background.zip")) as full,
        zipfile.ZipFile(subset, "w") as part,
    ):
        for entry in full.namelist():
            if entry.startswith(wanted):
                part.writestr(entry, full.read(entry))
    some_names, some_images = omniglot.read([subset])
    assert len(some_names) == 180
    mine = [index for index, name in enumerate(names) if name.startswith("background/Greek/character0")]
    assert [names[index] for index in mine] == some_names
    np.testing.assert_array_equal(images[mine], some_images)


def test_omniglot_classes_turn_with_their_character(opened):
    recorded("omniglot", "omniglot28_bits.npz")
    pool = opened("omniglot", rotations=True, part="evaluation")
    assert len(pool.task_ids) == 659 * 4
    assert len(set(pool.groups)) == 659
    upright, turned = (pool.index(f"evaluation/Tibetan/character05{turn}") for turn in ("", "@90"))
    np.testing.assert_array_equal(
        pool.values[pool.rows[turned]], np.rot90(pool.values[pool.rows[upright]], axes=(1, 2))
    )
    split = split_tasks(pool, test=100)
    assert len(split.test) == 400
    episodes = pool.sampler(split.test, EpisodePlan(1, 15, ways=5, order="random")).episodes(0, range(4))
    assert episodes.support.x.shape == (4, 5, 1, 28, 28)
    assert episodes.query.w.min() == 1
    assert set(episodes.support.x.unique().tolist()) == {0.0, 1.0}


def test_a_picture_shrinks_by_its_ink():
    page = Image.new("1", (105, 105), 1)
    page.paste(0, (0, 0, 52, 105))
    content = io.BytesIO()
    page.save(content, "png")
    small = omniglot._shrink(content.getvalue())
    assert small[:, :13].all()
    assert not small[:, 14:].any()


def test_parking_without_its_duplicates_is_in_order():
    table = parking.read(recorded("parking_birmingham30", "parking.parquet"))
    assert table.num_rows == 35_501
