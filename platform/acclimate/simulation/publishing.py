"""A signed TUF repository for versions that exist only in a simulation, and how such versions are made.

Real repositories are signed by `acclimate repo`; this one has keys of its own that are thrown away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from acclimate.simulation.world import Files
from acclimate_device.bundle import Bundle, read_bundle
from acclimate_device.protocol import MANIFEST, PARAMS, SANITY, File, dumps
from acclimate_device.runtime import Batch, ClosedFormEngine, GradientEngine, Params, load_engine
from acclimate_device.runtime.tensors import parse, serialize
from acclimate_device.testing.repository import SimulatedRepository

_NUDGE, _MISTAKEN = 1e-3, 1e3


def sign_repository(versions: Sequence[Files], folder: Path) -> bytes:
    """Sign bundles and lay the repository down in `folder`, as the service serves it; its trusted root."""
    repository = SimulatedRepository()
    for files in versions:
        repository.publish(files)
    for path, data in repository.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return repository.root


def next_version(files: Files, version: int, behaviour: str = "good", seed: int = 0) -> dict[str, bytes]:
    """Another version of a bundle with the same graphs: real files, accepted or refused by the real checks.

    Args:
        behaviour: every version moves the start by a thousandth of each tensor's deviation. `harmful` also
            takes inputs for a thousand times larger than they are, as when units are mistaken: it loads, but
            sees nothing to adapt to. `broken` does not reproduce its sanity vector: devices refuse it.
    """
    bundle = read_bundle(files.get)
    rng = np.random.default_rng([seed, version])
    tensors = {
        name: (tensor + rng.standard_normal(tensor.shape) * tensor.std() * _NUDGE).astype(np.float32)
        if name.startswith("param.")
        else tensor
        for name, tensor in parse(bundle.files[PARAMS]).items()
    }
    changed = {**bundle.files, PARAMS: serialize(tensors)}
    changed[SANITY] = _wrong(bundle.files[SANITY]) if behaviour == "broken" else _sanity(bundle, changed)
    given = bundle.manifest.input
    if behaviour == "harmful":
        scale = given.scale or (1.0,) * given.shape[0]
        mean = given.mean or (0.0,) * given.shape[0]
        given = replace(given, mean=mean, scale=tuple(one * _MISTAKEN for one in scale))
    manifest = replace(
        bundle.manifest,
        input=given,
        release=replace(
            bundle.manifest.release,
            version=version,
            content_hash=hashlib.sha256(changed[PARAMS] + bytes([version % 256])).hexdigest(),
        ),
        files={name: File(len(data), hashlib.sha256(data).hexdigest()) for name, data in changed.items()},
    )
    return {**changed, MANIFEST: dumps(manifest)}


def _sanity(bundle: Bundle, changed: Files) -> bytes:
    """The sanity vector of the changed parameters, by running the graphs."""
    sanity = parse(bundle.files[SANITY])
    engine = load_engine(bundle)
    given = parse(changed[PARAMS])
    params: Params = {
        name: given[name].astype(np.float32) if name in given else known
        for name, known in engine.start.items()
    }
    if isinstance(engine, ClosedFormEngine):
        told = engine.told(params, sanity["x"].astype(np.float32), sanity["y"])
        return serialize({**sanity, "outputs": told})
    assert isinstance(engine, GradientEngine)
    batch = Batch(sanity["x"].astype(np.float32), sanity["y"], sanity["w"].astype(np.float32))
    outputs, losses = engine.outputs(params, batch.x), []
    for step in range(len(sanity["losses"])):
        params, loss = engine.step(params, batch, step)
        losses.append(loss)
    return serialize({**sanity, "outputs": outputs, "losses": np.asarray(losses, np.float32)})


def _wrong(sanity: bytes) -> bytes:
    tensors = parse(sanity)
    return serialize({**tensors, "outputs": tensors["outputs"].astype(np.float32) + np.float32(1.0)})
