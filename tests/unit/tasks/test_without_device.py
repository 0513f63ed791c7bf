"""Tables in which no column names a device: what they may be, and what to say."""

import pytest

from acclimate.errors import DataError
from acclimate.tasks import from_files
from acclimate.tasks.guessing.guess import guess
from tests.support.fleets import fleet, opened

NAMES = {f"p{one:02d}": name for one, name in enumerate(["AA", "GG", "FB", "NX", "MS", "IB"])}
HINTS = {
    "a column a device, of any name": (
        lambda frame: frame.pivot(index="time", columns="device", values="flow").rename(columns=NAMES.get),
        r"if each but the time is a device, say --wide '\*' --time 'time'",
    ),
    "a column a device, called by numbers": (
        lambda frame: frame.pivot(index="time", columns="device", values="flow").rename(
            columns=lambda one: one[1:]
        ),
        r"there are 'time', '00', '01', .* say --wide '\*'",
    ),
    "a column a year": (
        lambda frame: (
            frame.assign(year=lambda one: 1990 + one.time.dt.minute)
            .pivot(index="device", columns="year", values="flow")
            .assign(quantity="flow")
        ),
        r"'1990', '1991', \.\.\. are moments: write a row for each device and moment",
    ),
    "one device": (
        lambda frame: frame[frame.device == "p00"].set_index("time")[["flow"]],
        "if all rows are of one device, add recordings of others",
    ),
    "a name that may say something else": (
        lambda frame: frame.assign(state="s" + frame.device).set_index("state")[["flow", "pressure"]],
        "if 'state' with its 6 values names them, say --task 'state'",
    ),
    "answers of yes and no": (
        lambda frame: frame.set_index("state")[["flow", "pressure"]].rename_axis("released"),
        "no column looks like a device",
    ),
}


@pytest.mark.parametrize("name", list(HINTS))
def test_a_table_without_a_device_says_what_it_may_be(name, tmp_path):
    shape, message = HINTS[name]
    shape(fleet()).to_csv(tmp_path / "table.csv")
    with pytest.raises(DataError, match=message):
        guess(from_files(str(tmp_path / "table.csv")), {})


def test_every_column_but_the_time_may_be_a_device(tmp_path):
    wide = fleet().pivot(index="time", columns="device", values="flow").rename(columns=NAMES.get)
    wide.to_csv(tmp_path / "wide.csv")
    pool, declared = opened(tmp_path / "wide.csv", wide="*", time="time")
    assert (declared["kind"], set(pool.task_ids)) == ("forecasting", set(NAMES.values()))
