"""One device through a thousand updates by the real service, every other one a version it has to leave."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from acclimate.simulation import SharedEngines, next_version
from acclimate.simulation.agenda import SimulatedClock
from acclimate.simulation.local_service import LocalService
from acclimate.simulation.share import Call
from acclimate.simulation.world import release_of
from acclimate_device import Device, OnlinePolicy
from acclimate_device.agent import Agent, Response
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle

pytestmark = pytest.mark.slow
UPDATES = 1_000


@pytest.fixture
def scratch() -> Iterator[Path]:
    """In memory where there is some to mount: three thousand syncs of a busy disk would be all the time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


class AtOnce:
    """The connection of the only device there is: it waits for nobody."""

    def __init__(self, service: LocalService) -> None:
        self._service = service

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        call = Call(self._service.clock(), 0, method, path, dict(headers), body)
        return Response(*self._service.serve([call])[0])


def test_a_thousand_updates_with_alternating_rollbacks(scratch: Path):
    factory = tiny_bundle()
    versions = [next_version(factory, number) for number in (2, 3, 4)]
    clock, load, flash = SimulatedClock(), SharedEngines(), SimulatedFlash()
    policy = OnlinePolicy(trial_starts=2, trial_predictions=3)
    service = LocalService(scratch / "service", versions, clock, 60.0, 0)
    service.operator.add_fleet("one", 60.0)
    agent = Agent(AtOnce(service), flash, service.root, scratch / "tuf", clock=clock)
    agent.service.enrol(service.operator.enrolment_token("one", 1), "one", {}, "")
    gestures = GestureDevice(0)

    def start() -> Device:
        return Device(factory.get, flash, policy, clock=clock, load=load)

    device, good, sizes = start(), release_of(factory), []
    for update in range(UPDATES):
        clock.now += 60.0
        wanted = next(one for one in map(release_of, versions[update % 3 :] + versions) if one != good)
        service.operator.set_baseline("one", wanted)
        service.refresh()
        agent.poll()
        device.tick()
        assert device.release == wanted, f"update {update} was not obeyed"
        if update % 2:
            for _ in range(policy.trial_starts):  # it never proves itself: the process dies
                device = start()
            assert device.release == good, f"after update {update} the device did not return"
        else:
            for x, _ in gestures.examples(policy.trial_predictions):
                device.predict_one(x)
            device.tick()
            good = wanted
        if update % 50 == 49:
            agent.send_reports()
            sizes.append(sum(flash.size(name) or 0 for name in flash.names("")))
    device.close()
    agent.send_reports()
    assert start().release == good
    assert max(sizes[1:]) < 1.2 * min(sizes[1:]), "the flash fills up"
    assert service.operator.counted("one")["fallbacks"] == UPDATES // 2
    service.close()
