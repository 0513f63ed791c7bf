"""A device goes over to another key: whatever ends in between, it has the key that the service knows."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from acclimate_device.agent import Agent
from acclimate_device.agent.machine import serials
from acclimate_device.agent.transport import Response
from acclimate_device.errors import TransportError
from acclimate_device.protocol import KEY_PATH
from acclimate_device.testing import PowerCutError, SimulatedFlash
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService

Intercept = Callable[[Callable[[], Response]], Response]


class Line:
    """To the service; `intercept` stands between it and requests to change the key."""

    def __init__(self, service: SimulatedService) -> None:
        self.service, self.intercept = service, None

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        def forward() -> Response:
            return self.service.request(method, path, headers, body, max_bytes)

        return self.intercept(forward) if self.intercept and path == KEY_PATH else forward()


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder, SimulatedRepository()
        self.service = SimulatedService(self.repository)
        self.line, self.flash = Line(self.service), SimulatedFlash()
        self.agent = self.start()
        self.agent.service.enrol(self.service.token, "", {}, "")
        self.first = self.agent.identity.key().public

    def start(self) -> Agent:
        return Agent(self.line, self.flash, self.repository.root, self.folder, hardware=lambda: "board")


def test_the_device_stays_the_same_and_its_old_key_is_worth_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    old = world.agent.identity.key()
    world.agent.service.change_key()
    assert world.agent.identity.key().public == world.service._device_key != world.first
    assert world.agent.service.state("") is not None
    assert world.start().service.state("") is not None
    world.agent.identity._store.write("key", old.private.private_bytes_raw())
    with pytest.raises(TransportError, match="signature-invalid"):
        world.start().service.state("")


def test_the_key_to_come_can_be_shown_to_a_broker_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    announced = world.agent.identity.next_key().public
    assert world.start().service.state("") is not None
    assert world.agent.identity.key().public == world.first, "announcing changes nothing"
    world.agent.service.change_key()
    assert world.agent.identity.key().public == announced
    assert world.agent.identity.next_key().public != announced


def test_at_every_power_cut_the_device_has_the_key_that_the_service_knows(tmp_path: Path) -> None:
    states = 0
    for cut in range(200):
        world = World(tmp_path)
        world.flash.cut_at = world.flash.calls + cut
        try:
            world.agent.service.change_key()
        except PowerCutError:
            taken = world.service._device_key
            for left in list(world.flash.outcomes())[:8]:
                states += 1
                world.flash, world.service._device_key = left, taken
                again = world.start()
                assert again.service.state("") is not None
                assert again.identity.key().public == world.service._device_key
                assert not again.identity.changing()
        else:
            break
    assert states > 30


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_request_or_answer_is_made_good_before_the_next_token(tmp_path: Path, arrives: bool) -> None:
    world = World(tmp_path)

    def lose(forward: Callable[[], Response]) -> Response:
        if arrives:
            forward()
        raise TransportError("the network is down")

    world.line.intercept = lose
    with pytest.raises(TransportError):
        world.agent.service.change_key()
    for again in (world.agent, world.start()):
        again.service._token = ""
        with pytest.raises(TransportError):
            again.service.state("")
    world.line.intercept = None
    later = world.start()
    assert later.service.state("") is not None
    assert later.identity.key().public == world.service._device_key != world.first


def test_a_service_that_changes_no_keys_keeps_the_old_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.line.intercept = lambda forward: Response(404)
    with pytest.raises(TransportError):
        world.agent.service.change_key()
    assert world.start().service.state("") is not None
    assert world.agent.identity.key().public == world.first


def test_hardware_is_told_by_what_is_soldered(tmp_path: Path) -> None:
    assert serials(tmp_path) == ""
    for name, kind, address, where in (
        ("eth0", "0", "aa:00", "pci0"),
        ("usb0", "0", "bb:00", "usb1/1-1"),
        ("docker0", "3", "cc:00", ""),
        ("wlan0", "3", "dd:00", "pci1"),
    ):
        interface = tmp_path / "sys/class/net" / name
        interface.mkdir(parents=True)
        (interface / "addr_assign_type").write_text(f"{kind}\n")
        (interface / "address").write_text(f"{address}\n")
        if where:
            (tmp_path / "sys/devices" / where).mkdir(parents=True, exist_ok=True)
            (interface / "device").symlink_to(tmp_path / "sys/devices" / where)
    assert serials(tmp_path) == "aa:00"
    board = tmp_path / "sys/class/dmi/id"
    board.mkdir(parents=True)
    (board / "product_uuid").write_text("00000000-0000-0000-0000-000000000000\n")
    assert serials(tmp_path) == "aa:00", "what every board says tells none apart"
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/serial-number").write_bytes(b"10000000a1b2\0")
    assert serials(tmp_path) == "10000000a1b2"
