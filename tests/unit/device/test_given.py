"""What applications hand in: arrays of other libraries, rows by name, buffers that are filled again."""

import datetime as dt
import sqlite3
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from acclimate_device import Device
from acclimate_device.errors import InputError, LabelError
from acclimate_device.online.given import by_name, seconds
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle

X = np.asarray(GestureDevice(1).example()[0], np.float32)
TABLE = pd.DataFrame(X.T, columns=["x", "y", "z"])
MASKED = np.ma.masked_array(X, mask=np.arange(X.size).reshape(X.shape) == 0)


def device(kind: str = "gradient") -> Device:
    return Device(tiny_bundle(kind).get, SimulatedFlash())


class Row(NamedTuple):
    b: float
    a: float


class Hostile:
    """An object that answers each question of what it is with an error of its own."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("not on this device")

    def __repr__(self) -> str:
        raise RuntimeError("not today")


SAME = {
    "read-only": np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
    "not contiguous": X[:, ::-1].copy()[:, ::-1],
    "by columns": np.asfortranarray(X),
    "big-endian": X.astype(">f8"),
    "objects": X.astype(object),
    "tensor": torch.tensor(X),
    "table, a row a moment": TABLE,
    "table, columns in another order": TABLE[["z", "x", "y"]].assign(more=1.0),
    "mapping of columns": {name: TABLE[name] for name in "zyx"},
    "fields": np.array([tuple(row) for row in X.T], [("x", "f4"), ("y", "f4"), ("z", "f4")])[["z", "x", "y"]],
    "masked nowhere": np.ma.masked_array(X),
}


@pytest.mark.parametrize("x", SAME.values(), ids=SAME)
def test_the_same_numbers_predict_the_same(x: object) -> None:
    assert device().predict_proba_one(x) == device().predict_proba_one(X)


WRONG = {
    "gradients": (torch.tensor(X, requires_grad=True), "requires grad"),
    "conjugated": (torch.tensor(X).to(torch.complex64).conj(), "not numbers"),
    "complex": (X + 1j, "complex numbers"),
    "complex in lists": ((X + 1j).tolist(), "complex numbers"),
    "dates": (np.full(X.shape, "2024-01-01", "M8[s]") + np.arange(8), "dates"),
    "durations": (np.full(X.shape, 1, "m8[s]") * np.arange(8), "lengths of time"),
    "masked": (MASKED, r"nan at \(0, 0\)"),
    "masked channels": (dict(zip("xyz", MASKED, strict=True)), r"nan at \(0, 0\)"),
    "masked rows": (list(MASKED), r"nan at \(0, 0\)"),
    "beyond float64": ([[10**400] * 8] * 3, "not numbers"),
    "beyond float32": (X.astype(float) * 1e39, "holds"),
    "hostile": (Hostile(), "not on this device"),
    "table without a channel": (TABLE[["x", "y"]], "no channel 'z'"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("x", "says"), WRONG.values(), ids=WRONG)
def test_what_is_no_input_is_refused_as_one(x: object, says: str) -> None:
    for call in (device().predict_one, lambda x: device().learn_one(x, "tap")):
        with pytest.raises(InputError, match=says):
            call(x)


@pytest.mark.parametrize(
    "y", [Hostile(), "x" * 10**6, np.zeros(10**6), b"tap"], ids=lambda y: type(y).__name__
)
def test_what_is_no_label_is_refused_in_a_line(y: object) -> None:
    with pytest.raises(LabelError, match="is not one the bundle knows") as refused:
        device().learn_one(X, y)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("kind", ["gradient", "closed-form"])
def test_a_buffer_that_is_filled_again_changes_nothing_that_was_learnt(kind: str) -> None:
    reused, fresh = device(kind), device(kind)
    buffer, stream = np.empty_like(X), GestureDevice(2)
    for number in range(60):
        x, y = stream.example()
        y = {"circle": "shake", "shake": "tap", "tap": "circle"}[y]
        buffer[:] = x
        reused.predict_one(buffer, key=number)
        fresh.predict_one(np.array(x, np.float32), key=number)
        buffer[:] = 77.0
        reused.learn_late(number, y)
        fresh.learn_late(number, y)
    assert fresh.adapted
    assert reused.predict_proba_one(X) == fresh.predict_proba_one(X)


def test_examples_may_come_from_generators() -> None:
    learner = device()
    learner.learn_many((X for _ in range(3)), iter(["tap"] * 3))
    assert len(learner._life.learner.examples(learner._life.active)) == 3
    with pytest.raises(LabelError, match="3 inputs came with 2 labels"):
        learner.learn_many((X for _ in range(3)), iter(["tap"] * 2))


@pytest.mark.parametrize("kind", ["gradient", "closed-form"])
@pytest.mark.filterwarnings("error")
def test_what_numpy_is_told_to_raise_is_not_raised_out_of_the_device(kind: str) -> None:
    with np.errstate(all="raise"):
        learner, stream = device(kind), GestureDevice(3)
        for number in range(120):
            x, y = stream.example()
            x = np.asarray(x) * (1.0 if number < 60 else 30.0)  # so that exponentials underflow
            learner.predict_proba_one(x)
            learner.learn_one(x, y)
        learner.predict_many([x, x])
        learner.tick()
        learner.close()
        with pytest.raises(FloatingPointError):  # the application's own state stays as it was
            np.float32(1e38) * np.float32(1e38)


def rows() -> dict[str, object]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return {
        "mapping": {"b": 2.0, "a": 1.0, "c": 3.0},
        "named tuple": Row(2.0, 1.0),
        "row of pandas": pd.DataFrame({"b": [2.0], "a": [1.0]}).iloc[0],
        "row of sqlite": connection.execute("select 2.0 as b, 1.0 as a").fetchone(),
        "in order": [1.0, 2.0],
        "row without names": pd.Series([1.0, 2.0]),
    }


@pytest.mark.parametrize("kind", rows())
def test_a_row_is_read_by_its_names_where_it_has_some(kind: str) -> None:
    assert list(by_name(rows()[kind], ("a", "b"))) == [1.0, 2.0]


MOMENT = dt.datetime(2024, 5, 1, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "moment",
    [
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(dt.timezone(dt.timedelta(hours=5.5))),
        MOMENT.timestamp(),
        np.float32(MOMENT.timestamp()),
        *(np.datetime64(MOMENT.replace(tzinfo=None), unit) for unit in ("s", "ms", "us", "ns")),
        pd.Timestamp(MOMENT),
        pd.Timestamp(MOMENT.replace(tzinfo=None)),
    ],
    ids=lambda moment: f"{type(moment).__name__} {moment}",
)
def test_a_moment_of_any_library_is_the_same_moment(moment: object) -> None:
    assert seconds(moment, 1.0) == pytest.approx(MOMENT.timestamp(), abs=64)


@pytest.mark.parametrize(
    "moment",
    [
        *(None, "noon", float("nan"), MOMENT.timestamp() * 1e3, np.int64(MOMENT.timestamp() * 1e9), pd.NaT),
        *(np.datetime64("NaT"), np.timedelta64(1, "D"), MOMENT.date(), [1.0, 2.0]),
    ],
    ids=lambda moment: f"{type(moment).__name__} {moment}",
)
def test_what_is_no_moment_is_refused(moment: object) -> None:
    with pytest.raises(InputError, match=r"neither seconds nor a date|which no calendar has"):
        seconds(moment, 1.0)


def test_the_recordings_own_unit_may_be_small() -> None:
    assert seconds(MOMENT.timestamp() * 1e9, 1e-9) == MOMENT.timestamp() * 1e9
