"""What a forecaster knows, as bytes: its past, forecasts whose time has not come, its trust in experts."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from acclimate_device.errors import BundleError
from acclimate_device.online.blend import Blend
from acclimate_device.online.series import Series
from acclimate_device.protocol import canonical_json
from acclimate_device.runtime.tensors import parse, serialize

Float = NDArray[np.float32]


def remembered(series: Series, blend: Blend, made: Mapping[int, Float]) -> bytes:
    """For `recall`.

    Args:
        made: candidates by the row at which they were forecast, (candidates, leads, targets) each.
    """
    rows = sorted(made)
    tensors = {f"series.{name}": tensor for name, tensor in series.state().items()}
    tensors |= {f"blend.{name}": tensor for name, tensor in blend.state().items()}
    tensors["made.rows"] = np.array(rows, np.int64)
    tensors["made"] = np.stack([made[row] for row in rows]) if rows else np.empty(0, np.float32)
    return _header(series, blend) + b"\n" + serialize(tensors)


def recall(raw: bytes, series: Series, blend: Blend) -> dict[int, Float] | None:
    """Let a fresh series and blend go on from what was remembered; the forecasts then made.

    Returns:
        None where it is of another bundle, or does not fit: series and blend are to be made anew then.
    """
    header, _, body = raw.partition(b"\n")
    if header != _header(series, blend):
        return None
    try:
        tensors = {name: np.array(tensor) for name, tensor in parse(body).items()}
        made = dict(zip(tensors["made.rows"].tolist(), tensors["made"].astype(np.float32), strict=True))
        parts = {
            part: {name.removeprefix(part): one for name, one in tensors.items() if name.startswith(part)}
            for part in ("series.", "blend.")
        }
        if any(one.shape != blend.shape for one in made.values()):
            raise ValueError("forecasts of another shape")
        blend.restore(parts["blend."])
        series.restore(parts["series."])
    except (BundleError, KeyError, ValueError, TypeError):
        return None
    return made


def _header(series: Series, blend: Blend) -> bytes:
    layout = json.loads(json.dumps(series.layout))
    return canonical_json({"layout": layout, "shape": list(blend.shape), "format": 1})
