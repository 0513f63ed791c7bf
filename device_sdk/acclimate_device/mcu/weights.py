"""A bundle's weights as one signed blob for the C runtime in `device_sdk/mcu`.

The blob is a header of 160 bytes, float32 numbers, and the Ed25519 signature of both, all little-endian.
Which number means what is decided here alone: `numbers` lays them out, and the generated `model.h` names the
places. A firmware takes every blob of its topology: the hash of all that its code was generated for.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from acclimate_device.bundle import Bundle
from acclimate_device.errors import BundleError
from acclimate_device.online.adaptation import expected_to_pay
from acclimate_device.preprocessing import Preparation
from acclimate_device.protocol import ADAPT, FEATURES, PARAMS, PREDICT, Adaptation, ClosedForm, Manifest
from acclimate_device.runtime.tensors import parse

Float = NDArray[np.float32]
Sign = Callable[[bytes], bytes]
"""The Ed25519 signature, 64 bytes, of a message."""

MAGIC = b"ACB1"
HEADER = struct.Struct("<4sI32s4I32s72s")
SIGNATURE_BYTES = 64
_LAYOUT = 2  # part of the topology: to be raised where the C runtime reads the same numbers in another way


def fits_c(manifest: Manifest) -> Adaptation | ClosedForm:
    """The adaptation of a bundle that the C runtime can run.

    Raises:
        BundleError: it adapts in a way that the C runtime does not know.
    """
    adaptation, input_ = manifest.adaptation, manifest.input
    if not isinstance(adaptation, Adaptation | ClosedForm):
        raise BundleError(
            f"{manifest.release.name} adapts to what is normal on the device, microcontrollers by heads in "
            "closed form or by gradient steps: train with learner.algorithm: closed-form"
        )
    if input_.preprocessing.step_s:
        raise BundleError(
            f"{manifest.release.name} evens the steps between readings, which the C runtime does not: train "
            "without `resample_s` on recordings of even steps"
        )
    if len(input_.shape) > 2:
        raise BundleError(f"the input has shape {input_.shape}: microcontrollers take rows and windows")
    return adaptation


def numbers(bundle: Bundle) -> dict[str, Float]:
    """Every number of a blob, by name, in the order in which they lie there.

    Raises:
        BundleError: a tensor is missing, or the bundle is of a kind that the C runtime does not know.
    """
    manifest = bundle.manifest
    adaptation = fits_c(manifest)
    tensors = {name: tensor.astype(np.float32) for name, tensor in parse(bundle.files[PARAMS]).items()}
    made = _preparation(manifest)
    width, output = manifest.output.width, manifest.output
    if output.kind != "classification":
        for name, given in (("target_mean", output.mean or (0.0,)), ("target_scale", output.scale or (1.0,))):
            made[name] = np.tile(np.asarray(given, np.float32), width // len(given))
    try:
        if isinstance(adaptation, Adaptation):
            made |= _steps(manifest, adaptation, tensors)
        else:
            made |= _heads(adaptation, tensors, output.kind == "classification")
    except KeyError as error:
        raise BundleError(f"{PARAMS} has no {error}: export the bundle again") from None
    made |= {
        name: tensors[name] for name in sorted(tensors) if name.startswith("param.") and name not in made
    }
    return {name: np.ascontiguousarray(each, np.float32).reshape(-1) for name, each in made.items()}


def rate_sizes(bundle: Bundle) -> dict[str, int]:
    """How many step sizes of each name one gradient step takes, in the order in which they lie in a blob: one
    for each number that it moves, or one for all of a tensor's."""
    adaptation = bundle.manifest.adaptation
    if not isinstance(adaptation, Adaptation):
        return {}
    tensors = parse(bundle.files[PARAMS])
    return {"lr": 1} | {name: tensors[name][0].size for name in map("rate.{}".format, adaptation.rates)}


def _steps(manifest: Manifest, adaptation: Adaptation, tensors: Mapping[str, Float]) -> dict[str, Float]:
    """Whether to adapt before labels can judge that, the step sizes step by step, and what moves."""
    steps = range(adaptation.steps if adaptation.rates else 1)
    rates: list[Float] = []
    for step in steps:
        rates.append(np.asarray([adaptation.inner_lr], np.float32))
        for name in adaptation.rates:
            every = tensors[f"rate.{name}"]
            rates.append(every[min(step, len(every) - 1)].reshape(-1))
    return {
        "pays": np.asarray([expected_to_pay(manifest)], np.float32),
        "rates": np.concatenate(rates),
        **{f"param.{name}": tensors[f"param.{name}"] for name in adaptation.trainable},
    }


def _heads(adaptation: ClosedForm, tensors: Mapping[str, Float], classes: bool) -> dict[str, Float]:
    made: dict[str, Float] = {}
    for head, kept in zip(adaptation.heads, adaptation.forgetting, strict=True):
        made[f"{head}_mean"] = tensors[f"start.{head}.mean"]
        made[f"{head}_cov"] = _lower(tensors[f"start.{head}.cov"])
        made[f"{head}_kept"] = np.asarray([kept], np.float32)
        if classes:
            made[f"{head}_scale"] = np.exp(tensors[f"prior.{head}.scale"].reshape(1))
            made[f"{head}_power"] = tensors[f"prior.{head}.power"]
            made[f"{head}_bias"] = tensors[f"prior.{head}.bias"]
    name = "temperature" if classes else "noise"
    return made | {name: tensors[f"prior.{name}"]}


def topology(bundle: Bundle) -> bytes:
    """SHA-256 of everything that firmware is generated for, and of the place at which it reads each number;
    weights of another need other firmware."""
    manifest = bundle.manifest
    adaptation, input_ = fits_c(manifest), manifest.input
    steps = input_.preprocessing
    if isinstance(adaptation, ClosedForm):
        kind: dict[str, object] = {"features": manifest.files[FEATURES].sha256, "heads": adaptation.heads}
    else:
        kind = {name: manifest.files[name].sha256 for name in (PREDICT, ADAPT)}
        kind |= {name: getattr(adaptation, name) for name in ("steps", "shots", "batch", "trainable")}
    told = {
        **kind,
        "layout": _LAYOUT,
        "shape": input_.shape,
        "loss": adaptation.loss,
        "kind": manifest.output.kind,
        "labels": manifest.output.labels or manifest.output.width,
        "gaps": steps.missing,
        "relative": [name in steps.relative for name in input_.channels],
        "beyond": steps.beyond,
        "numbers": [(name, each.size) for name, each in numbers(bundle).items()],
        "rates": list(rate_sizes(bundle).items()),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).digest()


def blob(bundle: Bundle, counter: int, sign: Sign) -> bytes:
    """The weights, signed.

    Args:
        counter: devices take only blobs with a counter above the one in use, 1 to 2**32 - 1.

    Raises:
        BundleError: `counter` is out of range, or the bundle is of a kind that the C runtime does not know.
    """
    release = bundle.manifest.release
    name = release.name.encode()[:71]
    if not 0 < counter < 2**32:
        raise BundleError(f"counter is {counter}: use 1 to {2**32 - 1}")
    payload = b"".join(each.astype("<f4").tobytes() for each in numbers(bundle).values())
    content = bytes.fromhex(release.content_hash)
    header = HEADER.pack(
        MAGIC, HEADER.size, topology(bundle), counter, len(payload) // 4, release.version, 0, content, name
    )
    return header + payload + sign(header + payload)


def _preparation(manifest: Manifest) -> dict[str, Float]:
    input_, steps = manifest.input, manifest.input.preprocessing
    channels = input_.shape[0]
    mean = np.asarray(input_.mean or [0.0] * channels, np.float32)
    prepared = Preparation(
        input_.channels,
        len(input_.shape),
        input_.mean or [0.0] * channels,
        input_.scale or [1.0] * channels,
        steps,
    )
    made: dict[str, Float] = {"mean": mean, "inverse": prepared.inverse.reshape(-1)}
    if steps.low and steps.high:
        made |= {"low": np.asarray(steps.low, np.float32), "high": np.asarray(steps.high, np.float32)}
    if steps.offset:
        made["offset"] = np.asarray(steps.offset, "<f8").view(np.float32)
    return made


def _lower(square: Float) -> Float:
    """The lower triangle by rows."""
    rows, columns = np.tril_indices(len(square))
    result: Float = square[rows, columns]
    return result
