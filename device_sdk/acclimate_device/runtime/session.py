"""An inference session as a device can afford one, and a bundle's tensors as it reads them."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError


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
