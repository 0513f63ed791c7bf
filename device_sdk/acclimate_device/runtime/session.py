"""An inference session as a device can afford one, and a bundle's tensors as it reads them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError

Array = NDArray[np.generic]
Floats = NDArray[np.float32]


class Graph:
    """A session that takes one example at a time: what goes in and out keeps its memory between calls.

    Handing tensors over costs as much as a small graph. Several threads may call; one that comes while
    another is inside pays for that, and so does who brings several examples.

    Args:
        fixed: inputs by name that are the same at each call.
        inputs, outputs: names of what is given and returned, in order. An input that the graph lacks, fixed
            or not, is left out.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        fixed: Mapping[str, Array],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        known = {entry.name for entry in session.get_inputs()}
        self.session, self._outputs = session, list(outputs)
        self._fixed = {name: value for name, value in fixed.items() if name in known}
        self._names = [(at, name) for at, name in enumerate(inputs) if name in known]
        self._binding, self._busy = session.io_binding(), threading.Lock()
        self._given: list[tuple[int, Array]] = []
        self._made: list[Floats] = []

    def __call__(self, *given: Array) -> list[Floats]:
        """New arrays."""
        if self._busy.acquire(blocking=False):
            try:
                if self._took(given):
                    self.session.run_with_iobinding(self._binding)
                    return [made.copy() for made in self._made]
            finally:
                self._busy.release()
        return self._run(given)

    def instead(self, fixed: Mapping[str, Array], *given: Array) -> list[Floats]:
        """The same with other fixed inputs, all of them, this once."""
        return self._run(given, {name: fixed[name] for name in self._fixed})

    def _took(self, given: Sequence[Array]) -> bool:
        """Whether there is room for what is given, and it is there now."""
        if not self._made and len(given[0]) == 1:
            self._bind(given)
        for at, held in self._given:
            if given[at].shape != held.shape or given[at].dtype != held.dtype:
                return False
            held[...] = given[at]
        return bool(self._made)

    def _bind(self, given: Sequence[Array]) -> None:
        """Room for inputs and outputs of these shapes; the session reads and writes it where it is."""
        made = [np.ascontiguousarray(each) for each in self._run(given)]
        self._given = [(at, np.array(given[at], order="C")) for at, _ in self._names]
        held = dict(zip((name for _, name in self._names), (each for _, each in self._given), strict=True))
        for name, value in (self._fixed | held).items():
            self._binding.bind_cpu_input(name, value)
        for name, room in zip(self._outputs, made, strict=True):
            self._binding.bind_output(name, "cpu", 0, room.dtype, room.shape, room.ctypes.data)
        self._made = made

    def _run(self, given: Sequence[Array], fixed: Mapping[str, Array] | None = None) -> list[Floats]:
        feed = {name: given[at] for at, name in self._names}
        return list(self.session.run(self._outputs, {**(self._fixed if fixed is None else fixed), **feed}))


def open_session(bundle: Bundle, file: str) -> onnxruntime.InferenceSession:
    """A graph of the bundle, loaded for one thread.

    Raises:
        BundleError: it does not load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # devices are short of memory, not of graphs that would profit from a cache that never shrinks
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(bundle.files[file], options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception types share no base but this
        raise BundleError(f"{file} does not load ({error}): update acclimate-device") from None


def row_error(told: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest error of answers (labels, width), in units of the largest number of their row, at least 1.

    The log probabilities of a label are differences of the same large numbers, so that float32 errs in all of
    them by about as much: by a row, and not by a number that happens to be near 0, its error is to be judged.
    """
    magnitude = np.maximum(np.abs(expected).max(axis=1), 1.0)
    return float((np.abs(told - expected).max(axis=1) / magnitude).max())


def check_sanity(off: float, tolerance: float) -> None:
    """Refuse a bundle that computes something else here.

    Args:
        off: largest error on the sanity vector.

    Raises:
        BundleError: it is above `tolerance`, or not a number.
    """
    if not off <= tolerance:
        raise BundleError(
            f"the bundle is off its sanity vector by {off:.2g}, {tolerance:g} is accepted: this device "
            "computes differently, or the bundle is damaged"
        )
