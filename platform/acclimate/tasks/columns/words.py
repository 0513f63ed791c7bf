"""What the names of columns give away."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

TASK = "device sensor machine unit asset turbine pump vehicle robot meter node station site plant house room"
TASK += " home server host well account customer person people subject user participant patient farm plot"
TASK += " wearer serial system mac imei eui motor engine bearing truck car drone inverter boiler animal cow"
TASK += " elevator driver batch id location battery instance client topic entity urn"
PEOPLE = "customer person people subject user participant patient wearer farm animal cow driver"
IN_NAMES = "pv wp bm mt hp ev wt chp bus feeder household building zone apartment charger"
"""What the names of devices begin with where each has a column, besides."""
TIME = "timestamp datetime datenum time ts t epoch seconds hour_index cycle step tick minute hour"
TIME += " day date year week jd mjd julian"
OF_DAY = "time timestamp hour minute"
LATER = (
    "uploaded received updated inserted ingested modified created stored logged end ended"  # than measured
)
WHEN = "at when"  # and not `sent`, for bytes are
RECORDING = "recording session run trial segment sequence bout"
RUN = "lap stride flight trip charge ride test experiment episode sortie shot voyage seq race match game set"
RUN += " journey mission dive visit exam take pass round attempt rep repetition"  # may be channels too
LABEL = (
    "label class activity state status fault failure mode exercise gesture condition category event anomaly"
)
EVENT = "occupancy occupied presence alarm attack defect leak fire fall detection detected"  # or none
TARGET = "target y rul remaining soh"
NAMING = "id no nr num number name code key serial uid uuid index label tag"  # make a thing's word its name
IDENTIFIER = "id idx"
COUNTER = "index row unnamed level i no nr num number"  # of rows, where such a column counts them
PLACE = "lat latitude lon lng long longitude"
NORMAL = "0 normal ok healthy good fine false no none n nominal sound"  # labels of what is not strange
QUANTITY = "field sensor variable parameter metric measurement channel tag signal quantity attribute element"
QUANTITY += " pollutant analyte phenomenon __name__"  # the last is that of a metric of Prometheus
QUANTITIES = (
    "temperature temp humidity pressure flow voltage current power energy co2 speed vibration level ph"
)
QUANTITIES += " light illuminance torque rpm frequency acceleration"
SENSORS = (
    "accelerometer acc gyroscope gyro magnetometer mag barometer microphone ecg emg eeg ppg gps imu wind"
)
SENSORS += " rain left right port starboard front rear"  # or sides, of one device
READING = "value reading val values measurement"
PARTS = "train test val valid validation training testing eval dev holdout . data"  # folders of such parts
PART = "split subset fold partition"  # of an experiment someone made, not of the world


@lru_cache(maxsize=1 << 14)  # thousands of columns are each asked for many a word
def words(column: str) -> frozenset[str]:
    """The words of a column's name: `deviceId2` and `device_id` have `device` and `id`.

    A single letter is one in a short name only: `t_ms` has `t`, and `acc_y` no `y`.
    """
    found: Sequence[str] = _in_order(column)
    if any(len(word) > 2 for word in found):
        found = [word for word in found if len(word) > 1]
    singular = (word.removesuffix("s") for word in found)
    return frozenset((*found, *singular, *(word.removesuffix("id") for word in found)))


def names_one(column: str, wanted: Collection[str]) -> bool:
    """Whether a name is that of one of the wanted things, as `engine_nr` is, and not of what is measured on
    it or counted, as `Engine RPM` and `cars` are.
    """
    found = _in_order(column)
    if found == ["battery"]:  # how full it is
        return False
    things = [at for at, word in enumerate(found) if {word, word.removesuffix("id")} & set(wanted)]
    return "id" in found or (bool(things) and set(found[things[-1] + 1 :]) <= set(NAMING.split()))


def _in_order(column: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", str(column)).lower())


def qualified(column: str, columns: Collection[str]) -> str | None:
    """The column of which one called `flow_status` or `Flow Quality` says how sure it is; None for others."""
    rating = r"(.+?)[\s._-]*(status|quality|qual|validity|valid|flag|qc|qf|_q)"
    found = re.fullmatch(rating, str(column), re.IGNORECASE)
    alike = found[1].casefold() if found else None
    return next((one for one in columns if one != column and str(one).casefold() == alike), None)


def is_axis(column: str, columns: Collection[str]) -> bool:
    """Whether a name with a `y` is that of an axis, for others have `x` or `z` in its place."""
    swapped = {axis: str(column).translate(str.maketrans("yY", axis + axis.upper())) for axis in "xz"}
    if len(str(column)) == 1:  # `y` beside `x` may be what depends on it
        return swapped["z"] in columns
    return any(name in columns and name != column for name in swapped.values())
