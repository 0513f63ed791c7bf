"""An initialization in, the files of a bundle out: traced, counted, verified, described.

`build_bundle` is a pure function: the same initialization and release give the same bytes. `write_bundle`
puts them on disk whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from acclimate.bundle.closed_form import closed_form_files, verify_labels
from acclimate.bundle.cost import parameter_count, prediction_multiply_adds, step_cost
from acclimate.bundle.graphs import predict_to_onnx, step_to_onnx, trace_step
from acclimate.bundle.limits import DeviceLimits
from acclimate.bundle.normal import normal_files, verify_windows
from acclimate.bundle.probe import Reference, probe_batch, sanity_of
from acclimate.bundle.step import StepSignature, step_function, step_inputs
from acclimate.bundle.verification import Agreement, verify_prediction, verify_sanity, verify_step
from acclimate.errors import BundleError
from acclimate.files import scratch_folder
from acclimate.initialization import Initialization
from acclimate.learners import Loss, loss_for
from acclimate.models import build
from acclimate.preprocessing import preprocessing
from acclimate_device.errors import ProtocolError
from acclimate_device.protocol import (
    ADAPT,
    LIMITS,
    MANIFEST,
    PARAMS,
    PREDICT,
    SANITY,
    Adaptation,
    Cost,
    Expected,
    File,
    Input,
    LossName,
    Manifest,
    Output,
    Release,
    dumps,
    loads,
)
from acclimate_device.protocol.codec import Text


@dataclass(frozen=True)
class Bundle:
    """What a device receives, in memory.

    Attributes:
        files: the content of every file by name, the manifest among them.
        agreement: how closely the exported step follows torch.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    agreement: Agreement


def build_bundle(
    initialization: Initialization,
    release: Release,
    *,
    run_id: str = "",
    verdict: str = "",
    expected: Expected | None = None,
    limits: DeviceLimits | None = None,
) -> Bundle:
    """A publishable bundle, or a refusal.

    Args:
        release: name, version and content hash; the hash must be the initialization's.
        run_id: the MLflow run it came from.
        verdict: what its evaluation came to, in one sentence.
        expected: the adaptation curve on held-out tasks.
        limits: what the smallest device carries; by default only what every device accepts at most.

    Raises:
        BundleError: an operator has no inference form, the graphs disagree with torch, adaptation diverges,
            a tensor is not finite, or a limit is exceeded; the message names it.
    """
    _check_hash(initialization, release)
    model = build(initialization.model)
    loss = loss_for(initialization.schema.kind, initialization.adaptation.loss)
    _check_tensors(initialization, model)
    if initialization.prior:
        return _closed_form(initialization, release, run_id, verdict, expected, limits)
    signature = StepSignature.of(initialization)
    batch = probe_batch(initialization, batch_size(initialization))
    params = {name: initialization.params[name] for name in signature.parameters}

    reference = Reference.of(initialization, model, loss, signature, batch)
    sanity = sanity_of(reference, signature, batch)
    step = step_function(model, loss, signature)
    tensors = step_inputs(initialization, signature, params, batch)
    graph = trace_step(step, tensors)
    files = {
        PREDICT: predict_to_onnx(model, params, batch[0]),
        ADAPT: step_to_onnx(graph, tensors, signature.inputs, signature.outputs),
        PARAMS: _safetensors(_prefixed(params, "param.") | _prefixed(initialization.rates, "rate.")),
        SANITY: _safetensors(sanity.tensors()),
    }
    counted = step_cost(graph, tensors)
    cost = Cost(
        parameters=parameter_count(params.values()),
        file_bytes=sum(map(len, files.values())),
        peak_memory_bytes=counted.peak_bytes,
        macs_per_step=counted.multiply_adds,
        macs_per_prediction=prediction_multiply_adds(model, params, batch[0][:1]),
    )
    (limits or DeviceLimits()).check(cost)
    verify_prediction(initialization, model, files[PREDICT], batch[0])
    agreement = verify_step(initialization, reference, step, files[ADAPT], signature, batch)
    manifest = Manifest(
        release=release,
        input=_input(initialization),
        output=_output(initialization),
        adaptation=_adaptation(initialization, loss, signature),
        cost=cost,
        files=_listed(files),
        learner=initialization.learner,
        expected=expected,
        run_id=run_id,
        verdict=_sentence(verdict),
    )
    verify_sanity(initialization, files[PREDICT], files[ADAPT], signature, sanity, manifest.sanity_tolerance)
    return _as_devices_read_it(manifest, files, agreement)


def _closed_form(
    initialization: Initialization,
    release: Release,
    run_id: str,
    verdict: str,
    expected: Expected | None,
    limits: DeviceLimits | None,
) -> Bundle:
    anomalies = initialization.schema.kind == "anomaly"
    made = normal_files(initialization) if anomalies else closed_form_files(initialization)
    files = {
        name: each if isinstance(each, bytes) else _safetensors(each) for name, each in made.files.items()
    }
    cost = Cost(
        parameters=parameter_count((*initialization.params.values(), *initialization.prior.values())),
        file_bytes=sum(map(len, files.values())),
        peak_memory_bytes=made.state_bytes,
        macs_per_step=made.label_macs,
        macs_per_prediction=made.prediction_macs,
    )
    (limits or DeviceLimits()).check(cost)
    manifest = Manifest(
        release=release,
        input=_input(initialization),
        output=_output(initialization),
        adaptation=made.adaptation,
        cost=cost,
        files=_listed(files),
        learner=initialization.learner,
        expected=expected,
        run_id=run_id,
        verdict=_sentence(verdict),
    )
    if anomalies:
        agreed = verify_windows(manifest, files)
    else:
        agreed = verify_labels(manifest, files)
        # Another processor rounds otherwise: devices accept ten times what float32 errs by here.
        manifest = replace(manifest, sanity_tolerance=max(manifest.sanity_tolerance, 10 * agreed))
    return _as_devices_read_it(manifest, files, Agreement(agreed))


def _as_devices_read_it(manifest: Manifest, files: Mapping[str, bytes], agreement: Agreement) -> Bundle:
    """The bundle, if its manifest is one that devices accept: no bundle leaves that none can open."""
    raw = dumps(manifest)
    try:
        loads(Manifest, raw, LIMITS.manifest_bytes)
    except ProtocolError as error:
        raise BundleError(f"no device would open this bundle: {error}") from error
    return Bundle(manifest, {MANIFEST: raw, **files}, agreement)


def _sentence(verdict: str) -> str:
    """A verdict as long as a manifest takes one; the registry has it whole."""
    longest = Text().max_length
    return verdict if len(verdict) <= longest else verdict[: longest - 1] + "\u2026"


def _listed(files: Mapping[str, bytes]) -> dict[str, File]:
    return {name: File(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}


def write_bundle(files: Mapping[str, bytes], directory: Path) -> None:
    """Write a bundle's files; `directory` then holds all of them and nothing else, or is as it was.

    An empty directory or an older bundle is replaced.

    Raises:
        BundleError: `directory` holds something else, or cannot be written.
    """
    occupied = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    if occupied and not (directory / MANIFEST).is_file():
        raise BundleError(f"{directory} exists and is no bundle: choose another directory, or empty it")
    try:
        with scratch_folder(directory) as fresh:
            for name, content in files.items():
                (fresh / name).write_bytes(content)
    except OSError as error:
        raise BundleError(f"the bundle cannot be written to {directory}: {error}") from error


def batch_size(initialization: Initialization) -> int:
    """Examples that `adapt.onnx` takes at once: the whole support that the policy keeps."""
    shots = initialization.adaptation.shots
    classes = initialization.model.outputs if initialization.schema.kind == "classification" else 1
    return shots * classes


def _check_hash(initialization: Initialization, release: Release) -> None:
    found = initialization.content_hash()
    if found != release.content_hash:
        raise BundleError(
            f"{release.name} version {release.version} should have content hash "
            f"{release.content_hash[:12]} but the initialization has {found[:12]}: fetch it again"
        )


def _check_tensors(initialization: Initialization, model: nn.Module) -> None:
    wanted = {name: tuple(param.shape) for name, param in model.named_parameters()}
    found = {name: tuple(param.shape) for name, param in initialization.params.items()}
    if wanted != found:
        name = min(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise BundleError(
            f"parameter {name!r} is {found.get(name, 'missing')} in the initialization and "
            f"{wanted.get(name, 'missing')} in the model {initialization.model.name!r}: "
            "they do not belong together; register the initialization again"
        )
    for kind, tensors in (
        ("parameter", initialization.params),
        ("learned rate", initialization.rates),
        ("prior", initialization.prior),
    ):
        for name, tensor in tensors.items():
            if tensor.dtype != torch.float32:
                raise BundleError(
                    f"{kind} {name!r} is {tensor.dtype}; devices run float32: convert and register it"
                )
            if not bool(torch.isfinite(tensor).all()):
                raise BundleError(
                    f"{kind} {name!r} holds NaN or infinity: training diverged; "
                    "lower the learning rates and train again"
                )


def _prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )


def _input(initialization: Initialization) -> Input:
    schema, normalization = initialization.schema, initialization.normalization
    return Input(
        shape=tuple(initialization.model.input_shape),
        channels=schema.channels,
        units=schema.units,
        window=schema.window,
        sample_rate_hz=schema.sample_rate_hz or 0.0,
        mean=normalization.mean,
        scale=normalization.scale,
        lags=schema.lags,
        calendar=cast(tuple[Literal["day", "week", "year"], ...], schema.calendar),
        time_unit_s=schema.time_unit_s,
        preprocessing=preprocessing(schema, normalization),
    )


def _output(initialization: Initialization) -> Output:
    schema, normalization = initialization.schema, initialization.normalization
    return Output(
        kind=schema.kind,
        width=initialization.model.outputs,
        labels=schema.labels,
        targets=schema.targets,
        horizon=schema.horizon,
        mean=normalization.target_mean,
        scale=normalization.target_scale,
        leads=schema.leads,
        seasons=schema.seasons,
    )


def _adaptation(initialization: Initialization, loss: Loss, signature: StepSignature) -> Adaptation:
    policy = initialization.adaptation
    return Adaptation(
        steps=policy.steps,
        inner_lr=policy.inner_lr,
        shots=policy.shots,
        batch=batch_size(initialization),
        loss=cast(LossName, loss.name),
        trainable=signature.trainable,
        rates=signature.rated,
    )
