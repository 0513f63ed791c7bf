"""Devices of a simulated clock in processes of their own."""

import multiprocessing

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


def test_they_and_the_service_tell_what_happens_in_the_order_of_its_times():
    told: list[Happening] = []
    outcome = simulate(STORY, tell=told.append, processes=2)
    assert [one.at for one in told] == sorted(one.at for one in told)
    assert {one.device for one in told} == {0, 1}
    assert told == outcome.happenings
    assert (
        outcome.counted["reports"] == outcome.acknowledged == sum(len(one.reports) for one in outcome.devices)
    )


def test_a_process_that_is_ended_is_told_with_a_remedy():
    def end(_happening: Happening) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(ScenarioError, match="--processes 1"):
        simulate(STORY, tell=end, processes=2)
