"""The C runtime on the host, for tests: compiled with a flash in memory, and driven through ctypes."""

from __future__ import annotations

import ctypes as ct
import subprocess
from pathlib import Path

import numpy as np

import acclimate_device.testing
from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.mcu.firmware import bundle_in, firmware, write_firmware

HOST = Path(__file__).with_suffix(".c")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
COUNTS = (
    "predictions",
    "mistakes",
    "steps",
    "adaptations",
    "kept_starts",
    "warnings",
    "drifts",
    "resets",
    "fallbacks",
    "clamped",
    "bad_inputs",
    "bad_labels",
    "beyond",
    "lost_states",
)
VERIFY = ct.CFUNCTYPE(
    ct.c_int, ct.POINTER(ct.c_uint8), ct.POINTER(ct.c_uint8), ct.POINTER(ct.c_uint8), ct.c_uint32
)


def unsigned(message: bytes) -> bytes:
    return bytes(64)


def generate(bundle_folder: Path, folder: Path, counter: int = 1, sign=unsigned, limits=None):
    """The firmware's folder of a bundle's folder."""
    made = firmware(bundle_in(bundle_folder), limits or DeviceLimits(), counter, sign)
    write_firmware(made, folder)
    return made


def build(folder: Path, *flags: str, compiler: str = "gcc") -> Path:
    """The firmware as a library of this machine, with the host's flash."""
    library = folder.with_suffix(".so")
    sources = sorted(folder.glob("*.c"))
    subprocess.run(
        [
            compiler,
            *STRICT,
            "-O2",
            "-fPIC",
            "-shared",
            *flags,
            f"-I{folder}",
            *sources,
            HOST,
            "-lm",
            "-o",
            library,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return library


class HostDevice:
    """One device in the library; use `restart` as a power cycle."""

    def __init__(self, library: Path, blob: bytes, flash=True, verify=None, key=bytes(32), detector=0):
        self.lib = ct.CDLL(str(library))
        for name, kind in (
            ("host_new", ct.c_void_p),
            ("host_flash", ct.c_void_p),
            ("host_state", ct.POINTER(ct.c_float)),
            ("host_outputs", ct.POINTER(ct.c_float)),
            ("host_counts", ct.POINTER(ct.c_uint32)),
            ("host_device", ct.c_void_p),
            ("host_distance", ct.c_float),
        ):
            getattr(self.lib, name).restype = kind
        self._blob = ct.create_string_buffer(blob, len(blob))
        self._verify = VERIFY(verify or (lambda *_: 0))
        self.host = ct.c_void_p(
            self.lib.host_new(self._blob, len(blob), int(flash), self._verify, bytes(key), detector)
        )
        self.begun = self.restart()
        self.device = ct.c_void_p(self.lib.host_device(self.host))

    def restart(self) -> int:
        return self.lib.host_begin(self.host)

    @property
    def counts(self) -> dict[str, int]:
        return dict(zip(COUNTS, self.lib.host_counts(self.host)[: len(COUNTS)], strict=True))

    @property
    def state(self) -> np.ndarray:
        count = ct.c_uint32()
        found = self.lib.host_state(self.host, ct.byref(count))
        return np.array(found[: count.value], np.float32)

    def outputs(self, width: int) -> np.ndarray:
        return np.array(self.lib.host_outputs(self.host)[:width], np.float32)

    def predict(self, x, dtype=np.float32) -> int:
        return self.lib.acc_predict(
            self.device, np.ascontiguousarray(x, dtype).ctypes.data_as(ct.c_void_p), None
        )

    def learn(self, x, y, dtype=np.float32) -> int:
        x = np.ascontiguousarray(x, dtype).ctypes.data_as(ct.c_void_p)
        if isinstance(y, int | np.integer):
            return self.lib.acc_learn(self.device, x, int(y))
        return self.lib.acc_learn(
            self.device, x, np.ascontiguousarray(y, np.float32).ctypes.data_as(ct.c_void_p)
        )

    def stream(self, xs, ys) -> tuple[np.ndarray, np.ndarray]:
        """Predictions, and whether drift was found, at each example that is predicted and learnt."""
        xs, ys = np.ascontiguousarray(xs, np.float32), np.ascontiguousarray(ys, np.int32)
        predictions, drifts = np.zeros(len(xs), np.int32), np.zeros(len(xs), np.uint8)
        given = [array.ctypes.data_as(ct.c_void_p) for array in (xs, ys)]
        made = [array.ctypes.data_as(ct.c_void_p) for array in (predictions, drifts)]
        told = self.lib.host_learn_many(self.host, *given, len(xs), *made)
        assert told == 0, told
        return predictions, drifts

    def report(self, identity=bytes(16), started=0, ended=60) -> bytes:
        room = ct.create_string_buffer(6144)
        written = self.lib.acc_report(self.device, identity, started, ended, room, len(room))
        assert written > 0, written
        return room.raw[:written]

    def update(self, blob: bytes, piece: int = 100) -> int:
        """A blob in pieces, as over a line."""
        told = self.lib.acc_update_begin(self.device, len(blob))
        for at in range(0, len(blob), piece):
            told = told or self.lib.acc_update_write(
                self.device, blob[at : at + piece], len(blob[at : at + piece])
            )
        return told or self.lib.acc_update_finish(self.device)

    def __del__(self):
        self.lib.host_free(self.host)


GESTURES = Path(acclimate_device.testing.__file__).parent / "closed_form_bundle"
STEPS = GESTURES.with_name("bundle")
"""The same by gradient steps."""
