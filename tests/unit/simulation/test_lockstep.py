"""Devices of a simulated clock in processes of their own."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acclimate.errors import ScenarioError
from acclimate.simulation import Happening, Scenario, simulate

STORY = Scenario(
    name="two",
    devices=2,
    duration="2h",
    stream={"every": "10min"},
    service={"poll": "10min", "tick": "10min"},
)

HELD = """
import multiprocessing, time
from acclimate.simulation import Scenario, simulate

def hold(happening):
    print(*(one.pid for one in multiprocessing.active_children()), flush=True)
    time.sleep(3600)

simulate(Scenario(name="two", devices=2), tell=hold, processes=2)
"""


def test_they_and_the_service_tell_what_happens_in_the_order_of_its_times():
    told: list[Happening] = []
    outcome = simulate(STORY, tell=told.append, processes=2)
    assert [one.at for one in told] == sorted(one.at for one in told)
    assert {one.device for one in told} == {0, 1}
    assert told == outcome.happenings
    assert (
        outcome.counted["reports"] == outcome.acknowledged == sum(len(one.reports) for one in outcome.devices)
    )


@pytest.mark.parametrize("duration", ["2.2h", "1.1d"])
def test_any_duration_ends_though_the_sum_with_its_start_rounds(duration: str):
    story = Scenario(name="one", devices=1, duration=duration, stream={"every": "5h"}, service={"poll": "5h"})
    assert simulate(story).duration_s == pytest.approx(story.duration, abs=1e-6)


def test_a_process_that_is_ended_is_told_with_a_remedy():
    def end(_happening: Happening) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(ScenarioError, match="--processes 1"):
        simulate(STORY, tell=end, processes=2)


def test_they_end_with_the_process_that_started_them():
    with subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        started = held.stdout.readline().split()
        held.kill()
    assert len(started) == 2
    until = time.monotonic() + 60.0
    while any(map(lives, started)):
        assert time.monotonic() < until
        time.sleep(0.05)


def lives(process: bytes) -> bool:
    """Whether a process runs; one that nobody asks about any more does not."""
    stat = Path(f"/proc/{process.decode()}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
