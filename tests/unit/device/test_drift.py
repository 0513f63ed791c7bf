"""Our detectors against river's, on recorded and made streams: the same verdict at the same value."""

import copy
import json
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import river.drift

from acclimate_device.drift import ADWIN, DDM, Detector, InputShift, PageHinkley

DATA = Path(os.environ.get("ACCLIMATE_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))


def steps(*means: float, noise: float = 1.0, each: int = 1500) -> list[float]:
    rng = random.Random(7)
    return [rng.gauss(mean, noise) for mean in means for _ in range(each)]


def mistakes(*rates: float, each: int = 1500) -> list[float]:
    rng = random.Random(7)
    return [float(rng.random() < rate) for rate in rates for _ in range(each)]


def elec2() -> dict[str, list[float]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = DATA / "elec2_nsw" / "elec2.parquet"
    if not path.exists():
        pytest.skip(f"no recorded stream at {path}: set ACCLIMATE_DATA_DIR")
    columns = parquet.read_table(path, columns=["nswprice", "y_up"]).slice(0, 20_000).to_pydict()
    last_label_wrong = [float(one != two) for one, two in pairwise(columns["y_up"])]
    return {"price": columns["nswprice"], "mistakes": last_label_wrong}


def verdicts(detector: Detector, stream: list[float]) -> list[tuple[int, bool, bool]]:
    found = []
    for index, value in enumerate(stream):
        detector.update(value)
        if detector.drift_detected or detector.warning_detected:
            found.append((index, detector.drift_detected, detector.warning_detected))
    return found


def drifts(detector: Any, stream: Iterable[Any]) -> list[int]:
    found = []
    for index, value in enumerate(stream):
        detector.update(value)
        if detector.drift_detected:
            found.append(index)
    return found


PAIRS = {
    "adwin": (ADWIN, river.drift.ADWIN),
    "adwin each value": (lambda: ADWIN(clock=1), lambda: river.drift.ADWIN(clock=1)),
    "page-hinkley": (PageHinkley, river.drift.PageHinkley),
    "page-hinkley up": (
        lambda: PageHinkley(threshold=5, mode="up"),
        lambda: river.drift.PageHinkley(threshold=5, mode="up"),
    ),
    "page-hinkley down": (
        lambda: PageHinkley(threshold=5, mode="down"),
        lambda: river.drift.PageHinkley(threshold=5, mode="down"),
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_drift_is_found_where_river_finds_it(pair: tuple) -> None:
    ours, theirs = pair
    for stream in (steps(0, 0.4, 0, 2, 2.1), mistakes(0.1, 0.3, 0.1, 0.8)):
        expected = drifts(theirs(), stream)
        assert expected, "a stream without drift shows nothing"
        assert drifts(ours(), stream) == expected


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_on_the_electricity_market_too(pair: tuple) -> None:
    ours, theirs = pair
    for stream in elec2().values():
        assert drifts(ours(), stream) == drifts(theirs(), stream)


@pytest.mark.parametrize("stream", ["made", "recorded"])
def test_ddm_warns_and_finds_drift_where_river_does(stream: str) -> None:
    values = mistakes(0.1, 0.3, 0.1, 0.15, 0.8) if stream == "made" else elec2()["mistakes"]
    expected = verdicts(river.drift.binary.DDM(), values)
    assert any(drift for _, drift, _ in expected)
    assert verdicts(DDM(fewest=0), values) == expected


@pytest.mark.parametrize("make", [ADWIN, PageHinkley, DDM])
def test_a_warning_comes_before_a_slow_drift(make: type) -> None:
    stream = mistakes(0.1, 0.1) + [float(random.Random(i).random() < 0.1 + i / 4000) for i in range(3000)]
    found = verdicts(make(), stream)
    first_drift = next(index for index, drift, _ in found if drift)
    assert any(warning and index < first_drift for index, _, warning in found)
    assert not any(drift and warning for _, drift, warning in found)


@pytest.mark.parametrize("make", [ADWIN, PageHinkley, DDM, InputShift])
def test_reset_forgets_everything(make: type) -> None:
    used, stream = make(), mistakes(0.1, 0.6)
    for value in stream[:2500]:
        used.update(value)
    used.reset()
    assert verdicts(used, stream) == verdicts(make(), stream)


def test_adwin_keeps_the_new_part_of_its_window() -> None:
    detector = ADWIN()
    for value in steps(0, each=1000) + steps(3, each=200):
        detector.update(value)
        if detector.drift_detected:
            break
    assert detector.width < 64
    assert detector.estimation > 1


def test_adwin_memory_is_logarithmic() -> None:
    detector = ADWIN()
    for value in mistakes(0.3, each=100_000):
        detector.update(value)
    assert detector.width == 100_000
    assert sum(map(len, detector._rows)) < 6 * 18


def test_input_shift_finds_a_moved_channel_and_no_other() -> None:
    rng = random.Random(3)
    still = [[rng.gauss(0, 1), rng.gauss(5, 2)] for _ in range(20_000)]
    detector = InputShift()
    assert drifts(detector, still) == []
    moved = [[one, -two] for one, two in still[:600]]
    found = drifts(detector, moved)
    assert found
    assert found[0] < 16 * 9


def test_a_channel_that_stands_still_is_no_shift_and_no_error() -> None:
    assert drifts(InputShift(), [[1.0, 0.0]] * 5000) == []


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'sideways'"):
        PageHinkley(mode="sideways")
    with pytest.raises(ValueError, match="block is 0"):
        InputShift(block=0)


# -- drift that knows seasons -------------------------------------------------------------------------------


def later(level: Callable[[float], float], by: float, hour: float) -> float:
    return level(hour + by)


def days_of(
    level: Callable[[float], float], days: float, seed: int = 0
) -> Iterator[tuple[float, list[float]]]:
    """Of a sensor that follows `level` of the hour: every other minute a time and two features."""
    rng = random.Random(seed)
    for number in range(int(days * 720)):
        hour = number / 30.0
        value = level(hour) + rng.gauss(0.0, 0.1)
        yield hour * 3600.0, [value, value * 0.5 + rng.gauss(0.0, 0.1)]


CYCLES = {
    "stationary": lambda hour: 0.0,
    "daily": lambda hour: 1.6 * math.sin(math.pi * hour / 12),
    "daily in steps": lambda hour: 1.0 if 8 <= hour % 24 < 18 else -1.0,
    "weekly in steps": lambda hour: 1.0 if 8 <= hour % 24 < 18 and hour % 168 < 120 else -1.0,
}


@pytest.mark.parametrize("level", CYCLES.values(), ids=CYCLES)
def test_cycles_give_one_false_alarm_a_month_at_most_and_hide_no_shift(level: Callable) -> None:
    detector, alarms = InputShift(), []
    for at, features in days_of(level, 30):
        detector.update(features, at)
        if detector.drift_detected:
            alarms.append(at / 86_400.0)
    assert len(alarms) <= 1
    assert all(day < 8.0 for day in alarms), "what was seen for a week is no shift"
    for hour in (3.0, 12.0):  # in the fifth week
        found = copy.deepcopy(detector)
        seen = 0
        for at, features in days_of(level, 1, seed=1):
            found.update([features[0] + 1.0, features[1]], 30 * 86_400.0 + at + hour * 3600.0)
            seen += 1
            if found.drift_detected:
                break
        assert found.drift_detected
        assert seen * 4 < 50, "each stands for four windows of the device"


def test_an_offset_that_the_day_nearly_hides_is_found_by_its_staying() -> None:
    detector, level = InputShift(), CYCLES["daily"]
    for at, features in days_of(level, 15):
        detector.update(features, at)
        assert not detector.drift_detected
    for hour in (3.0, 9.0, 15.0):
        found, seen = copy.deepcopy(detector), 0
        for at, features in days_of(partial(later, level, hour), 0.2, seed=1):
            found.update([features[0] + 0.65, features[1]], 15 * 86_400.0 + at + hour * 3600.0)
            assert found.distance < 1.0, "no block alone is a shift"
            seen += 1
            if found.drift_detected:
                break
        assert found.drift_detected
        assert seen * 4 < 50, "each stands for four windows of the device"


def test_hours_go_on_as_before_when_the_clock_is_set() -> None:
    detector, level = InputShift(), CYCLES["daily in steps"]
    for at, features in days_of(level, 12):
        detector.update(features, at)
    detector.leapt(9 * 3600.0)
    for at, features in days_of(level, 12, seed=1):
        detector.update(features, 12 * 86_400.0 + at + 9 * 3600.0)
        assert not detector.drift_detected


def test_a_restart_changes_nothing_that_the_detector_says() -> None:
    went_on = InputShift()
    for at, features in days_of(CYCLES["weekly in steps"], 9.31):
        went_on.update(features, at)
    went_on.leapt(-3600.0)
    restarted = InputShift()
    restarted.restore(json.loads(json.dumps(went_on.state())))
    told = []
    for at, features in days_of(lambda hour: CYCLES["weekly in steps"](hour + 9.31 * 24), 4, seed=1):
        shifted = features if at < 3 * 86_400.0 else [features[0] + 1.0, features[1]]
        for one in (went_on, restarted):
            one.update(shifted, at + 9.31 * 86_400.0 - 3600.0)
        assert went_on.drift_detected == restarted.drift_detected
        assert went_on.distance == restarted.distance
        told.append(went_on.drift_detected)
    assert not any(told[: 3 * 720]), "what the week before the restart knew"
    assert any(told)


def test_a_clock_that_starts_in_1970_waits_to_be_set() -> None:
    detector, level = InputShift(), CYCLES["daily in steps"]
    since = 20_000 * 86_400.0
    for at, features in days_of(level, 12):
        detector.update(features, since + at)
    restarted = InputShift()
    restarted.restore(detector.state())
    for at, features in days_of(level, 2, seed=1):
        hours_up = at / 3600.0
        if hours_up == 5.0:
            restarted.leapt(since + 12 * 86_400.0)
        restarted.update(features, at + (since + 12 * 86_400.0 if hours_up >= 5.0 else 0.0))
        assert not restarted.drift_detected
    assert restarted._ahead == 0.0, "hours are those of before the restart"


def test_what_is_no_state_is_refused_and_changes_nothing() -> None:
    detector = InputShift()
    for at, features in days_of(CYCLES["daily"], 2):
        detector.update(features, at)
    state = json.loads(json.dumps(detector.state()))
    short = state["season"]["means"][:64]
    for name, other in (
        ("season", state["season"] | {"means": short}),
        ("season", state["season"] | {"counts": "!"}),
        ("season", 7),
        ("squares", [1.0]),
        ("lately", [["a", "b"]]),
        ("peaks", [math.nan, 0.0]),
        ("days", {}),
        *((name, other) for name in state for other in ("x", {}, 7j)),
        *((name, -1) for name in ("in_block", "blocks", "beyond", "shares", "sums", "last", "told")),
        *(("days", state["days"] | {name: other}) for name in state["days"] for other in ("x", [[]], -1.5)),
    ):
        fresh = InputShift()
        before = copy.deepcopy(vars(fresh)) | {"_days": None}
        with pytest.raises(ValueError, match=r"\w"):
            fresh.restore(state | {name: other})
        assert vars(fresh) | {"_days": None} == before


def test_a_sensor_that_ages_is_found_by_its_days() -> None:
    detector, found = InputShift(), []
    for at, (one, two) in days_of(CYCLES["daily"], 40):
        day = at / 86_400.0
        detector.update([one + 0.1 * max(0.0, day - 14.0), two], at)
        if detector.drift_detected:
            found.append(day)
    assert 14.0 < found[0] < 30.0


def test_ddm_is_quiet_on_a_nearly_perfect_stream_and_finds_what_spoils_it() -> None:
    rng = random.Random(7)
    perfect = [float(rng.random() < 0.0005) for _ in range(50_000)]
    assert len(drifts(DDM(fewest=0), perfect)) > 3, "the first mistake after none is drift without `fewest`"
    assert drifts(DDM(), perfect) == []
    spoilt = drifts(DDM(), [*perfect[:5000], *(float(rng.random() < 0.3) for _ in range(200))])
    assert spoilt
    assert spoilt[0] < 5000 + 100
