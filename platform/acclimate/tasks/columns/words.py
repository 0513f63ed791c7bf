"""What the names of columns give away."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

TASK = "device sensor machine unit asset turbine pump vehicle robot meter node station site plant house room"
TASK += " home server host well battery account customer person people subject user participant patient"
TASK += " wearer serial system mac imei motor engine bearing truck car drone inverter boiler batch id"
TIME = "timestamp datetime datenum time ts t epoch seconds hour_index cycle step tick minute hour"
TIME += " day date year week"
RECORDING = "recording session run trial segment sequence bout"
LABEL = (
    "label class activity state status fault failure mode exercise gesture condition category event anomaly"
)
TARGET = "target y rul remaining"
COUNTER = "index row idx unnamed level i id"  # what tools leave behind, no measurements
NORMAL = "0 normal ok healthy good fine false no none n nominal sound"  # labels of what is not strange
QUANTITY = "field sensor variable parameter metric measurement channel tag signal quantity attribute"
READING = "value reading val values measurement"
PART = "split subset fold partition"  # of an experiment someone made, not of the world


def words(column: str) -> set[str]:
    """The words of a column's name: `deviceId2` and `device_id` have `device` and `id`.

    A single letter is one in a short name only: `t_ms` has `t`, and `acc_y` no `y`.
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(column))
    found: Sequence[str] = re.findall(r"[a-z]+", spaced.lower())
    if any(len(word) > 2 for word in found):
        found = [word for word in found if len(word) > 1]
    return {*found, *(word.removesuffix("s") for word in found), *(word.removesuffix("id") for word in found)}


def is_axis(column: str, columns: Collection[str]) -> bool:
    """Whether a name with a `y` is that of an axis, for others have `x` or `z` in its place."""
    swapped = {axis: str(column).translate(str.maketrans("yY", axis + axis.upper())) for axis in "xz"}
    if len(str(column)) == 1:  # `y` beside `x` may be what depends on it
        return swapped["z"] in columns
    return any(name in columns and name != column for name in swapped.values())
