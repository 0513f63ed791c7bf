"""What the world does to the C runtime: compilers' flags, worn flash, wild labels, counters at their end."""

from __future__ import annotations

import ctypes
import struct
import subprocess

import numpy as np
import pytest

from acclimate_device.mcu.line import Ask
from acclimate_device.protocol import LIMITS, Report, loads
from tests.support.mcu_host import COUNTS, HostDevice, build
from tests.unit.bundle.test_closed_form import FAMILIES
from tests.unit.mcu.conftest import verify
from tests.unit.mcu.test_decisions import KINDS, stream
from tests.unit.mcu.test_flash import PUBLIC, signed
from tests.unit.mcu.test_moments import Wire, line_to

FLASH, NO_WEIGHTS = -6, -5


@pytest.mark.parametrize("label", [1e8, 1e17, 1e30])
def test_a_report_can_be_made_and_read_whatever_the_labels_were(numbers, label: float) -> None:
    """A dead meter tells the largest number there is; its losses squared are none that float32 holds."""
    made, library = numbers
    device, rng = HostDevice(library, made.files["weights.blob"]), np.random.default_rng(0)
    shape = FAMILIES["mlp"].input_shape
    for _ in range(9):
        x = rng.normal(size=shape)
        assert device.predict(x) == 0
        assert device.learn(x, np.full(FAMILIES["mlp"].outputs, label)) == 0
    report = loads(Report, device.report(), 65536)
    told = [each for each in (report.start_loss, report.adapted_loss) if each.count]
    assert report.steps == 9
    assert all(0.0 < each.sum <= LIMITS.number for each in told)


def test_counts_stay_at_the_most_that_they_hold(gestures) -> None:
    """A gateway is away for months, and an inner loop predicts a thousand times a second."""
    made, library = gestures
    device = HostDevice(library, made.files["weights.blob"])
    counts = device.lib.host_counts(device.host)
    for place in range(len(COUNTS)):
        counts[place] = 2**32 - 1
    device.stream(*stream(0, 24))
    assert device.predict(np.full((3, 8), np.nan)) == -1
    assert set(device.counts.values()) == {2**32 - 1}
    assert loads(Report, device.report(), 65536).predictions == 2**32 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_detectors_go_on_past_four_billion_labels(kind: str, request) -> None:
    library = ctypes.CDLL(str(request.getfixturevalue(KINDS[kind])[1]))

    class Test(ctypes.Structure):
        _fields_ = (
            *((name, ctypes.c_double) for name in ("mean", "rise", "lowest", "fall", "highest")),
            ("count", ctypes.c_uint32), ("drift", ctypes.c_uint8), ("warning", ctypes.c_uint8),
        )  # fmt: skip

    test = Test()
    library.acc_page_hinkley_reset(ctypes.byref(test))
    test.count, test.mean = 2**32 - 2, 0.1
    for _ in range(400):
        library.acc_page_hinkley_update(ctypes.byref(test), ctypes.c_double(0.1))
    assert test.drift == 0
    assert test.mean == pytest.approx(0.1)
    for _ in range(400):
        library.acc_page_hinkley_update(ctypes.byref(test), ctypes.c_double(0.9))
        if test.drift:
            break
    assert test.drift


def worn(device: HostDevice, saves: int) -> tuple[np.ndarray, int]:
    """What was saved, and where the slot begins that the next save goes to."""
    for seed in range(saves):
        device.stream(*stream(seed, 16))
        assert device.lib.acc_save(device.device) == 0
    size = device.lib.host_flash_bytes(device.host)
    image = ctypes.string_at(ctypes.c_void_p(device.lib.host_flash(device.host)), size)
    slot = image.index(b"ACS1") if saves % 2 else image.rindex(b"ACS1")
    return device.state, slot


@pytest.fixture
def device(gestures) -> HostDevice:
    made, library = gestures
    return HostDevice(library, made.files["weights.blob"], verify=verify, key=PUBLIC)


@pytest.mark.parametrize("offset", [0, 4, 9, 40, 130, 500])
def test_a_save_that_flash_does_not_hold_is_told(device, offset: int) -> None:
    """Of two slots the other keeps what was saved before."""
    learnt, slot = worn(device, 2)
    device.lib.host_wear(device.host, slot + offset + 1)
    device.stream(*stream(5, 16))
    latest = device.state
    told = device.lib.acc_save(device.device)
    assert device.restart() == 0
    assert (device.state == (latest if told == 0 else learnt)).all()
    assert told in (0, FLASH)


def test_what_was_reset_does_not_come_back_where_flash_is_worn(device) -> None:
    fresh = device.state
    learnt, slot = worn(device, 2)
    assert not (learnt == fresh).all()
    device.lib.host_wear(device.host, slot + 1)
    assert device.lib.acc_reset(device.device) == 0
    assert device.restart() == 0
    assert (device.state == fresh).all()


def test_flash_that_cannot_read_what_was_never_programmed_is_flash(device) -> None:
    """As that of an LPC55, whose controller tells an error there."""
    device.lib.host_blank_fails(device.host)
    assert device.restart() == 0
    device.stream(*stream(0, 16))
    learnt = device.state
    assert device.lib.acc_save(device.device) == 0
    assert device.restart() == 0
    assert (device.state == learnt).all()
    assert device.update(signed(5)) == 0
    assert device.restart() == 0
    assert device.lib.acc_counter(device.device) == 5


def test_two_devices_in_one_application_do_not_meet(gestures) -> None:
    made, library = gestures
    streams = [stream(seed, 120) for seed in (1, 2)]
    alone = [HostDevice(library, made.files["weights.blob"]) for _ in streams]
    expected = [one.stream(*each)[0].tolist() for one, each in zip(alone, streams, strict=True)]
    both, told = [HostDevice(library, made.files["weights.blob"]) for _ in streams], [[], []]
    for place in range(120):
        for one, (windows, classes), said in zip(both, streams, told, strict=True):
            said.append(one.predict(windows[place]))
            assert one.learn(windows[place], int(classes[place])) == 0
    assert told == expected
    assert [one.counts for one in both] == [one.counts for one in alone]


def test_decisions_do_not_hang_on_denormals(gestures) -> None:
    """Of a processor that takes them for zero, and of a sensor that gives some."""
    made, library = gestures
    windows, classes = stream(4, 400)
    windows[300:] *= np.float32(1e-39)
    told = []
    for flush in (0, 1):
        device = HostDevice(library, made.files["weights.blob"])
        device.lib.host_flush(flush)
        try:
            told.append(device.stream(windows[:300], classes[:300])[0].tolist())
            refused = device.predict(windows[300])
        finally:
            device.lib.host_flush(0)
        assert loads(Report, device.report(), 65536).predictions == 300 + (refused >= 0)
    assert told[0] == told[1]


def test_a_device_without_weights_refuses_until_some_come(gestures) -> None:
    """Its factory left them out, or put them where a Cortex-M0+ cannot read numbers."""
    library = gestures[1]
    device = HostDevice(library, b"", verify=verify, key=PUBLIC)
    x = stream(0, 1)[0][0]
    assert device.begun == device.predict(x) == device.learn(x, 1) == NO_WEIGHTS
    for call in (device.lib.acc_save, device.lib.acc_reset):
        assert call(device.device) == NO_WEIGHTS
    assert device.lib.acc_report(device.device, bytes(16), 0, 60, ctypes.create_string_buffer(6144), 6144) < 0
    there = line_to(device).hello()
    assert (there.counter, there.content_hash) == (0, "0" * 64)
    assert line_to(device).send_weights(signed(1)) == 0
    assert device.predict(x) >= 0


def test_weights_that_are_not_aligned_are_refused(gestures) -> None:
    made, library = gestures
    blob = made.files["weights.blob"]
    device = HostDevice(library, bytes(1) + blob)
    device.lib.host_new.restype = ctypes.c_void_p
    at = ctypes.c_void_p(ctypes.addressof(device._blob) + 1)
    host = ctypes.c_void_p(device.lib.host_new(at, len(blob), 0, None, bytes(32), 0))
    assert device.lib.host_begin(host) == NO_WEIGHTS
    device.lib.host_free(host)


class Repeating(Wire):
    """A broker between gateway and child that delivers each frame at least once: again after the next two."""

    def __init__(self, device: HostDevice) -> None:
        super().__init__(device)
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        super().write(data)
        self.sent.append(data)
        for late in self.sent[-3:-2]:
            super().write(late)


def test_what_a_broker_delivers_twice_is_obeyed_once(device) -> None:
    windows, classes = stream(0, 30)
    line = line_to(device)
    line._stream = Repeating(device)
    assert line.reset() == 0
    for x, y in zip(windows, classes, strict=True):
        assert line.example(Ask.LEARN, struct.pack("<i", y) + np.asarray(x, "<f4").tobytes())[0] == 0
    report = loads(Report, line.report(0, 60), 65536)
    assert (report.steps, report.resets) == (30, 1)


def test_weights_come_through_a_broker_that_delivers_twice(device) -> None:
    line = line_to(device)
    line._stream = Repeating(device)
    assert line.send_weights(signed(5)) == 0


def test_weights_come_from_two_gateways_whose_sequences_are_the_same(device) -> None:
    for counter in (5, 6):
        line = line_to(device)
        line._sequence = 0
        assert line.send_weights(signed(counter)) == 0
        assert line.hello().counter == counter


def test_a_request_is_obeyed_again_when_sequences_begin_anew(device) -> None:
    windows, classes = stream(0, 1)
    data = struct.pack("<i", classes[0]) + np.asarray(windows[0], "<f4").tobytes()
    line = line_to(device)
    line._answer_s = 0.2
    for _ in range(20):
        assert line.example(Ask.LEARN, data)[0] == 0
        while (line._sequence + 1) % 16:
            line.hello()
    report = loads(Report, line.report(0, 60), 65536)
    assert report.steps == 20


def test_an_answer_that_was_lost_is_given_again_after_a_late_copy_of_another_frame(device) -> None:
    line = line_to(device)
    line._stream = wire = Repeating(device)
    line.hello()
    late = wire.sent[-1]
    before = len(wire.sent)
    assert line.reset() == 0
    Wire.write(wire, late)
    Wire.write(wire, wire.sent[before])
    assert line._answer(Ask.RESET, 0.2) is not None


def test_a_late_copy_of_a_request_makes_no_report_come_twice(device) -> None:
    line = line_to(device)
    device.stream(*stream(0, 40))
    first = loads(Report, line.report(0, 60), 65536)
    line.ask(Ask.REST, struct.pack("<I", 0))
    device.stream(*stream(1, 5))
    second = loads(Report, line.report(60, 120), 65536)
    assert (first.predictions, second.predictions) == (40, 5)


@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast", "-ffinite-math-only"])
@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_arithmetic_without_nan_is_refused(gestures, compiler: str, flag: str) -> None:
    source = gestures[1].with_suffix("") / "acc_input.c"
    told = subprocess.run(
        [compiler, "-std=c99", flag, "-fsyntax-only", str(source)], capture_output=True, text=True
    )
    assert told.returncode != 0
    assert "without -ffast-math" in told.stderr


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_header_is_included_twice_and_from_cpp(request, kind: str, compiler: str, tmp_path) -> None:
    folder = request.getfixturevalue(KINDS[kind])[1].with_suffix("")
    (tmp_path / "application.cpp").write_text(
        '#include "acclimate.h"\n#include "factory.h"\n#include "acclimate.h"\n'
        "static acc_device device;\n"
        "int main() { acc_config config = acc_defaults(); return acc_begin(&device, &config); }\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-variable", f"-I{folder}"]
    object_ = tmp_path / "application.o"
    told = subprocess.run(
        [compiler, *flags, "-c", str(tmp_path / "application.cpp"), "-o", str(object_)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    names = subprocess.run(["nm", "-u", str(object_)], capture_output=True, text=True, check=True).stdout
    assert " acc_begin\n" in names


@pytest.mark.parametrize(
    "flags", [["-O0"], ["-Os", "-flto", "-fshort-enums"], ["-O3", "-march=native"]], ids=str
)
def test_decisions_do_not_hang_on_the_optimizer(gestures, flags, tmp_path) -> None:
    made, library = gestures
    again = tmp_path / "firmware"
    again.symlink_to(library.with_suffix(""))
    windows, classes = stream(3, 400)
    expected = HostDevice(library, made.files["weights.blob"])
    device = HostDevice(build(again, *flags), made.files["weights.blob"])
    told, wanted = device.stream(windows, classes), expected.stream(windows, classes)
    assert [each.tolist() for each in told] == [each.tolist() for each in wanted]
    assert device.counts == expected.counts
