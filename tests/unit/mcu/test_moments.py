"""A microcontroller in a campaign: its moments are the SDK's, and leave only where its owner agreed."""

from __future__ import annotations

import ctypes as ct
import json
import struct
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from acclimate.bundle.export import write_bundle
from acclimate.bundle.mcu.firmware import bundle_in
from acclimate_device.agent.agent import Agent
from acclimate_device.agent.config import AgentConfig
from acclimate_device.agent.gateway import Gateway, GatewayConfig
from acclimate_device.federated import FixedPoint, clipped, moments, moments_size
from acclimate_device.mcu import line as line_module
from acclimate_device.mcu.line import Ask, Line, decoded, encoded
from acclimate_device.mcu.ports import open_port
from acclimate_device.online.contributing import _targets, contribution
from acclimate_device.online.learner import Active
from acclimate_device.online.policy import OnlinePolicy
from acclimate_device.online.support import Example
from acclimate_device.online.versions import Running
from acclimate_device.protocol import Contribution, Round
from acclimate_device.runtime import ClosedFormEngine
from acclimate_device.storage import FileFlash
from tests.support.bundle_samples import export
from tests.support.mcu_host import GESTURES, HostDevice
from tests.unit.bundle.test_closed_form import FAMILIES, start
from tests.unit.device.test_contributing import Asking
from tests.unit.mcu.test_decisions import compiled, stream
from tests.unit.mcu.test_gateway import board, program, world  # noqa: F401


class Wire:
    """A child's end of a line, in this process; `spoil` may change or drop what goes either way."""

    def __init__(self, device: HostDevice, spoil=lambda frame: frame) -> None:
        self.device, self.spoil, self.waiting = device, spoil, b""

    def write(self, data: bytes) -> None:
        room, given = ct.create_string_buffer(65536), self.spoil(data)
        count = self.device.lib.host_take(self.device.host, given, len(given), room, len(room))
        self.waiting += self.spoil(room.raw[:count])

    def read(self, timeout_s: float) -> bytes:
        data, self.waiting = self.waiting, b""
        return data


def line_to(device: HostDevice, spoil=lambda frame: frame) -> Line:
    return Line(Wire(device, spoil), answer_s=0.05)


def asked_of(bundle, **changes) -> Round:
    width = ClosedFormEngine(bundle).start["state.last.mean"].shape
    made = Round(
        id="campaign-1", fleet="fleet", release=bundle.manifest.release, numbers=moments_size(*width),
        clip=2.0, bits=24, labels=8, quorum=3, closes_at=4e9,
    )  # fmt: skip
    return replace(made, **changes)


def active_of(bundle) -> Active:
    return Active.fresh(Running(ClosedFormEngine(bundle), "factory"), OnlinePolicy())


def sdks(bundle, examples, asked: Round) -> Contribution | None:
    """What the SDK gives of these examples."""
    return contribution(active_of(bundle), [Example(n, *one) for n, one in enumerate(examples)], asked)


def seen_by(device: HostDevice, features: int) -> np.ndarray:
    """The features that the device keeps, `(n, d)`."""
    at, width = ct.POINTER(ct.c_float)(), ct.c_uint32()
    count = device.lib.host_seen(device.host, ct.byref(at), ct.byref(width))
    return np.array(at[: count * width.value], np.float32).reshape(count, -1)[:, :features]


def same_as_the_sdk(folder, device: HostDevice, number: int, **changes) -> None:
    """The same bits as the SDK's code makes of the same features, and of the same examples as near as float32
    leaves features of onnxruntime."""
    bundle, rng = bundle_in(folder), np.random.default_rng(number)
    asked, output = asked_of(bundle, **changes), bundle.manifest.output
    examples = []
    for _ in range(number):
        x = rng.normal(size=bundle.manifest.input.shape).astype(np.float32)
        if output.kind == "classification":
            y: object = int(rng.integers(output.width))
        else:
            y = rng.normal(size=output.width).astype(np.float32)
        assert device.learn(x, y) == 0
        examples.append((x, y))
    told, ours = line_to(device).moments(asked.clip, asked.bits, asked.labels)
    assert told == asked.numbers
    features = ClosedFormEngine(bundle).start["state.last.mean"].shape[0]
    active = active_of(bundle)
    phi = seen_by(device, features)
    made = moments(phi, _targets(active, [Example(n, *one) for n, one in enumerate(examples)]))
    bits = FixedPoint(asked.bits).rounded(clipped(made, asked.clip)[0])
    assert ours == bits.astype("<i4").tobytes()
    given = sdks(bundle, examples, asked)
    assert given is not None
    apart = np.frombuffer(ours, "<i4").astype(np.int64) - np.frombuffer(given.raw, "<i4")
    print("integers apart", Counter(np.abs(apart).tolist()))
    assert np.abs(apart).max() <= 2.0**asked.bits * 1e-6


@pytest.mark.parametrize("changes", [{}, {"clip": 0.4, "bits": 20}, {"bits": 12}])
@pytest.mark.parametrize("number", [8, 61])
def test_moments_of_the_sample_are_the_sdks(gestures, number: int, changes) -> None:
    made, library = gestures
    same_as_the_sdk(GESTURES, HostDevice(library, made.files["weights.blob"]), number, **changes)


@pytest.mark.parametrize("kind", ["regression", pytest.param("classification", marks=pytest.mark.nightly)])
def test_moments_of_rows_are_the_sdks(kind: str, tmp_path) -> None:
    write_bundle(export(start(FAMILIES["levels"], kind)).files, tmp_path / "bundle")
    same_as_the_sdk(tmp_path / "bundle", HostDevice(*compiled(tmp_path)), 20)


def test_few_examples_give_nothing_whoever_asks(gestures) -> None:
    made, library = gestures
    device = HostDevice(library, made.files["weights.blob"])
    bundle, line = bundle_in(GESTURES), line_to(device)
    windows, classes = stream(0, 80)
    greedy = asked_of(bundle, labels=1)
    examples = list(zip(windows, classes.tolist(), strict=True))
    for number, (x, y) in enumerate(examples):
        assert (line.moments(2.0, 24, 1)[0] > 0) is (number >= 8)
        assert (sdks(bundle, examples[:number], greedy) is not None) is (number >= 8)
        device.report()  # after which examples are kept again
        device.learn(x, y)
    assert line.moments(2.0, 24, 65)[0] == -13  # so many the application granted no memory for
    assert line.moments(2.0, 24, 64)[0] > 0
    assert line.ask(Ask.MOMENTS, struct.pack("<dII", float("nan"), 24, 8))[0] == -11
    assert line.ask(Ask.MOMENTS, struct.pack("<dII", 2.0, 25, 8))[0] == -11
    assert line.ask(Ask.NUMBERS, struct.pack("<I", 0))[0] == -11  # nothing was begun since
    for forgets in (lambda: line.reset(), lambda: device.restart()):
        for x, y in zip(windows[:9], classes[:9], strict=True):
            device.learn(x, y)
        forgets()
        assert line.moments(2.0, 24, 1)[0] == -13


def test_moments_beyond_32_bits_give_none_as_the_sdks_do(gestures) -> None:
    made, library = gestures
    device = HostDevice(library, made.files["weights.blob"])
    bundle, line, (windows, classes) = bundle_in(GESTURES), line_to(device), stream(0, 8)
    for x, y in zip(windows, classes, strict=True):
        device.learn(x, y)
    features, at = ClosedFormEngine(bundle).start["state.last.mean"].shape[0], ct.POINTER(ct.c_float)()
    device.lib.host_seen(device.host, ct.byref(at), ct.byref(ct.c_uint32()))
    at[0] = 4096.0  # whose square over eight examples is 2^21, and nearly all of the first number
    phi = seen_by(device, features)
    y = _targets(
        active_of(bundle), [Example(n, *one) for n, one in enumerate(zip(windows, classes, strict=True))]
    )
    made_of = moments(phi, y)
    assert 2.0**21 < made_of.max() < 2.0**21 + 2.0
    for bits in (9, 10, 24):
        told, ours = line.moments(1e9, bits, 8)
        if bits == 9:
            assert ours == FixedPoint(bits).rounded(made_of).astype("<i4").tobytes()
        else:
            assert told == -14
            assert line.ask(Ask.NUMBERS, struct.pack("<I", 0))[0] == -11  # nothing was begun
            with pytest.raises(ValueError, match="beyond 32 bits"):
                FixedPoint(bits).rounded(made_of)
    assert line.moments(2.0, 24, 8)[0] > 0  # shortened to the clip it fits
    for value in (float("inf"), float("nan")):
        at[0] = value
        assert line.moments(2.0, 24, 8)[0] == -14


def test_numbers_do_not_change_while_they_are_fetched(gestures) -> None:
    made, library = gestures
    device = HostDevice(library, made.files["weights.blob"])
    windows, classes = stream(1, 30)
    line = line_to(device)
    for x, y in zip(windows[:10], classes[:10], strict=True):
        device.learn(x, y)
    count, whole = line.moments(2.0, 24, 8)
    for x, y in zip(windows[10:], classes[10:], strict=True):
        device.learn(x, y)
    again = b""
    while len(again) < 4 * count:
        again += line.ask(Ask.NUMBERS, struct.pack("<I", len(again) // 4))[1]
    assert again == whole


def test_damaged_and_lost_frames_change_nothing_that_is_learnt_or_told(gestures, monkeypatch) -> None:
    """Half of the frames are damaged, on either way, and each label still counts once."""
    monkeypatch.setattr(line_module, "_TIMES", 50)
    made, library = gestures
    plain, device = (HostDevice(library, made.files["weights.blob"]) for _ in range(2))
    rng = np.random.default_rng(0)

    def spoil(data: bytes) -> bytes:
        if len(data) < 3 or rng.random() > 0.25:
            return data
        at = int(rng.integers(1, len(data) - 1))
        return [b"", data[:at], data[:at] + bytes([data[at] ^ 0x55 or 1]) + data[at + 1 :]][rng.integers(3)]

    windows, classes = stream(0, 60)
    line = Line(Wire(device, spoil), answer_s=0.003)
    for x, y in zip(windows, classes, strict=True):
        plain.learn(x, y)
        data = struct.pack("<i", y) + np.asarray(x, "<f4").tobytes()
        for at in range(0, len(data), 60):
            assert line.ask(Ask.LEARN, struct.pack("<I", at) + data[at : at + 60])[0] == 0
    assert device.counts == plain.counts
    assert (device.state == plain.state).all()
    assert json.loads(line.report(0, 60))["steps"] == plain.counts["steps"] == 60


@pytest.fixture
def willing(world, board, tmp_path):  # noqa: F811
    """A gateway with a child that learnt twenty examples, whose owner agreed or not."""
    service = Asking()
    port = board()

    def start_gateway(consent: str) -> Gateway:
        (tmp_path / "token").write_text(service.token)
        child = f'[child.pump-1]\nport = "{port}"\nbundle = "{GESTURES}"\ntoken_file = "token"\n{consent}\n'
        (tmp_path / "children.toml").write_text(f'key = "gateway.pem"\n{child}')
        own = AgentConfig(
            "https://service.invalid", tmp_path / "state", tmp_path / "root.json", contribute=True
        )

        def agent(config: AgentConfig) -> Agent:
            made = Agent(
                service, FileFlash(config.state), service.repository.root, config.state / "tuf",
                contribute=config.contribute,
            )  # fmt: skip
            if made.identity.enrolled() is None:
                made.service.enrol(config.token_file.read_text(), config.hardware_id, {}, "")
            return made

        return Gateway(GatewayConfig.load(tmp_path / "children.toml", own), agent)

    line = Line(open_port(port))
    windows, classes = stream(0, 20)
    for x, y in zip(windows, classes, strict=True):
        line.example(Ask.LEARN, struct.pack("<i", y) + np.asarray(x, "<f4").tobytes())
    return service, start_gateway, list(zip(windows, classes.tolist(), strict=True))


def test_a_child_gives_what_the_sdk_would_once_its_owner_agreed(willing) -> None:
    service, gateway, examples = willing
    bundle = bundle_in(GESTURES)
    service.round = asked_of(bundle, bits=12)
    through = gateway("")  # the gateway's own consent is not its children's
    for _ in range(3):
        assert through.round() == {"pump-1": ""}
    assert service.taken == []
    assert not any("round" in path for path in service.paths)
    through = gateway("contribute = true")
    for _ in range(3):
        assert through.round() == {"pump-1": ""}
    (given,) = service.taken
    expected = sdks(bundle, examples, service.round)
    assert given.raw == expected.raw
    assert (given.right, given.tried) == (0, 0)
    for x, _ in examples:
        assert np.asarray(x, "<f4").tobytes()[:32] not in service.wire


@pytest.mark.parametrize(
    "changes",
    [{"numbers": 7}, {"kind": "gradients"}, {"labels": 21}, {"release": "another"}, {"closes_at": 1.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_child_gives_nothing_to_a_round_that_is_not_for_it(willing, changes) -> None:
    service, gateway, _ = willing
    bundle = bundle_in(GESTURES)
    if "release" in changes:
        changes = {"release": replace(bundle.manifest.release, version=9)}
    service.round = asked_of(bundle, **changes)
    through = gateway("contribute = true")
    for _ in range(3):
        assert through.round() == {"pump-1": ""}
    assert service.taken == []


def test_a_frame_ends_whatever_was_written_before(gestures) -> None:
    """Such as a boot loader's greeting, or a line that the application printed."""
    made, library = gestures
    device = HostDevice(library, made.files["weights.blob"])
    room = ct.create_string_buffer(65536)
    frame = encoded(bytes((Ask.HELLO, 1)))
    count = device.lib.host_take(device.host, b"\0" + frame, len(frame) + 1, room, len(room))
    frames = (b"rst:0x1 (POWERON)\r\n" + room.raw[:count]).split(b"\0")
    assert any(plain is not None and plain[:2] == b"\x81\x01" for plain in map(decoded, frames))
