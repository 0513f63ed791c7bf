"""Adapted parameters on flash, tied to the exact version and the lineage they belong to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acclimate_device.errors import BundleError, ProtocolError
from acclimate_device.online.alignment import Alignment, Moments
from acclimate_device.protocol import canonical_json, read
from acclimate_device.runtime import Engine, Params
from acclimate_device.runtime.tensors import parse, serialize
from acclimate_device.storage import Store

_NAME = "adapted"


@dataclass(frozen=True)
class Adapted:
    """What a device made of its version.

    Attributes:
        params: all parameters.
        adapted: whether they differ from the start's.
        alignment: undoes a shift of the inputs; None if there is none to undo.
        before: moments of the inputs before that shift; None without one.
    """

    params: Params
    adapted: bool
    alignment: Alignment | None = None
    before: Moments | None = None


class SavedState:
    """The record of adapted parameters and of the alignment of the inputs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, engine: Engine, state: Adapted, lineage: int) -> None:
        """Write the parameters that moved, and the alignment."""
        header: dict[str, Any] = {**_belongs_to(engine, lineage), "adapted": state.adapted}
        if state.alignment is not None and state.before is not None:
            header |= {"alignment": asdict(state.alignment), "before": asdict(state.before)}
        now, start = state.params, engine.start
        moved = {name: now[name] for name in engine.moving if now[name] is not start[name]}
        self._store.write(_NAME, canonical_json(header) + b"\n" + serialize(moved))

    def load(self, engine: Engine, lineage: int) -> Adapted | None:
        """What was saved, with all parameters; None if nothing was saved for this version and lineage.

        Raises:
            BundleError: something was, but it does not fit this version.
        """
        raw = self._store.read(_NAME)
        if raw is None:
            return None
        try:
            return _read(raw, engine, lineage)
        except (ProtocolError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BundleError(f"the saved state is of another version of this package ({error!r})") from None


def _read(raw: bytes, engine: Engine, lineage: int) -> Adapted | None:
    header, _, body = raw.partition(b"\n")
    head = json.loads(header)
    if any(head.get(key) != value for key, value in _belongs_to(engine, lineage).items()):
        return None
    moved = {name: tensor.astype(np.float32) for name, tensor in parse(body).items()}
    for name, tensor in moved.items():
        if name not in engine.moving or tensor.shape != engine.start[name].shape:
            raise BundleError(f"the saved state has a {name} of shape {tensor.shape} that does not fit")
    params = {**engine.start, **moved} if moved else engine.start
    adapted = bool(head.get("adapted", moved))
    if "alignment" not in head:
        return Adapted(params, adapted)
    alignment, before = read(Alignment, head["alignment"]), read(Moments, head["before"])
    rows = (alignment.gain, alignment.offset, before.mean, before.spread)
    if any(len(row) != engine.manifest.input.shape[0] for row in rows):
        raise BundleError("the saved alignment is of other channels")
    return Adapted(params, adapted, alignment, before)


def _belongs_to(engine: Engine, lineage: int) -> dict[str, Any]:
    return {"content_hash": engine.manifest.release.content_hash, "lineage": lineage}
