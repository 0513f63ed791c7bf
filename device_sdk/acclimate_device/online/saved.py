"""Adapted parameters on flash, tied to the exact version and the lineage they belong to."""

from __future__ import annotations

import json

import numpy as np

from acclimate_device.errors import BundleError
from acclimate_device.protocol import canonical_json
from acclimate_device.runtime import Engine, Params
from acclimate_device.runtime.tensors import parse, serialize
from acclimate_device.storage import Flash, Record


class SavedState:
    """The record of adapted parameters."""

    def __init__(self, flash: Flash) -> None:
        self._record = Record(flash, "adapted")

    def save(self, engine: Engine, params: Params, lineage: int) -> None:
        """Write the parameters that moved."""
        header = {"content_hash": engine.manifest.release.content_hash, "lineage": lineage}
        moved = {f"param.{name}": params[f"param.{name}"] for name in engine.manifest.adaptation.trainable}
        self._record.write(canonical_json(header) + b"\n" + serialize(moved))

    def load(self, engine: Engine, lineage: int) -> Params | None:
        """All parameters, adapted ones in place; None if nothing was saved for this version and lineage.

        Raises:
            BundleError: something was, but it is damaged.
        """
        raw = self._record.read()
        if raw is None:
            if self._record.damaged():
                raise BundleError("the saved state is damaged")
            return None
        header, _, body = raw.partition(b"\n")
        expected = {"content_hash": engine.manifest.release.content_hash, "lineage": lineage}
        if json.loads(header) != expected:
            return None
        moved = {name: tensor.astype(np.float32) for name, tensor in parse(body).items()}
        for name, tensor in moved.items():
            if name not in engine.start or tensor.shape != engine.start[name].shape:
                raise BundleError(f"the saved state has a {name} of shape {tensor.shape} that does not fit")
        return {**engine.start, **moved}
