"""The manifest: what a bundle is, what it costs, how a device adapts it and what to expect of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from acclimate_device.errors import ProtocolError
from acclimate_device.protocol.codec import Items, Number, Text
from acclimate_device.protocol.messages import Count, Hash, Name, Release

MANIFEST = "manifest.json"
PREDICT = "predict.onnx"
ADAPT = "adapt.onnx"
FEATURES = "features.onnx"
LEARN = "learn.onnx"
PARAMS = "params.safetensors"
SANITY = "sanity.safetensors"
FILES = (PREDICT, ADAPT, PARAMS, SANITY)
"""What a bundle that adapts by gradient steps holds beside its manifest."""
CLOSED_FORM_FILES = (FEATURES, LEARN, PARAMS, SANITY)
"""What a bundle whose heads are solved in closed form holds beside its manifest."""

NORMAL_FILES = (FEATURES, PARAMS, SANITY)
"""What a bundle that tells anomalies holds beside its manifest."""

TaskKind = Literal["classification", "regression", "forecasting", "anomaly"]
HeadName = Literal["last", "means"]
LossName = Literal["cross_entropy", "mse", "mae", "huber"]
Positive = Annotated[int, Number(1, 2**31 - 1)]
Label = Annotated[str, Text(max_length=128)]


@dataclass(frozen=True)
class Preprocessing:
    """What is done to recorded inputs before they are normalized: see `acclimate_device.preprocessing`.

    Attributes:
        missing: a gap in a window is refused (`error`, `drop`) or takes the channel's last value (`hold`).
        relative: channels of which a window holds the rise since its first sample.
        offset: taken off each channel in float64; empty: nothing.
        low, high: bounds of each channel, after that; empty: none.
        beyond: inputs outside them are held at the edge (`clamp`), refused, or taken as they are (`off`).
        still: channels that never moved in training: they are passed on as 0.
        absent: numbers that stand for a missing value, such as -999: they are one before all other steps.
        step_s: seconds in the even steps that readings are gathered into, see
            `acclimate_device.resampling`; 0: they are taken as they come.
        pause: steps from one row to the next beyond which no window reaches; of even steps only.
    """

    missing: Literal["error", "drop", "hold", "season"] = "error"
    relative: Annotated[tuple[Label, ...], Items(4096)] = ()
    offset: Annotated[tuple[float, ...], Items(4096)] = ()
    low: Annotated[tuple[float, ...], Items(4096)] = ()
    high: Annotated[tuple[float, ...], Items(4096)] = ()
    beyond: Literal["off", "clamp", "refuse"] = "off"
    still: Annotated[tuple[Label, ...], Items(4096)] = ()
    absent: Annotated[tuple[float, ...], Items(64)] = ()
    step_s: Annotated[float, Number(0, 1e9)] = 0.0
    pause: Count = 0


@dataclass(frozen=True)
class Input:
    """What one example is.

    Attributes:
        shape: of one example as the graphs take it, without the batch axis: windows (channels, time).
        channels: channel names, in the order of the first axis of `shape`.
        units: a unit for each channel; empty where unknown.
        window: samples from the oldest of one example to the latest; 1 when an example is one row.
        sample_rate_hz: samples a second; 0 where unknown.
        mean, scale: normalization by channel, done by the device: `(x - mean) / scale`. Empty: none.
        lags: samples before the latest that the graphs take of the window, oldest first. Empty: all of it.
        calendar: cycles whose inputs are the last channels; the device makes them from the time of each
            sample, see `acclimate_device.calendar`.
        time_unit_s: seconds in a unit of the time that recordings had; 1 for timestamps.
        preprocessing: what the device does before it normalizes.
    """

    shape: Annotated[tuple[Positive, ...], Items(4)]
    channels: Annotated[tuple[Label, ...], Items(4096)]
    units: Annotated[tuple[Label, ...], Items(4096)] = ()
    window: Positive = 1
    sample_rate_hz: float = 0.0
    mean: Annotated[tuple[float, ...], Items(4096)] = ()
    scale: Annotated[tuple[float, ...], Items(4096)] = ()
    lags: Annotated[tuple[Count, ...], Items(65536)] = ()
    calendar: Annotated[tuple[Literal["day", "week", "year"], ...], Items(3)] = ()
    time_unit_s: Annotated[float, Number(1e-9, 1e9)] = 1.0
    preprocessing: Preprocessing = Preprocessing()


@dataclass(frozen=True)
class Output:
    """What the outputs mean.

    Attributes:
        kind: classification outputs are logits; the others are normalized targets.
        width: of the last axis.
        labels: class names in output order (classification), of exactly `width` entries.
        targets: target names (regression, forecasting).
        horizon: samples ahead (forecasting); 0 otherwise. Outputs run step by step: all targets of the first
            step ahead, then all of the second, and so on.
        leads: the samples ahead that are forecast, ascending; empty: each up to the horizon.
        seasons: samples of each season of the series, for forecasts that need no model.
        mean, scale: of the targets, or of every output; a prediction is `output * scale + mean`. Empty: none.
    """

    kind: TaskKind
    width: Positive
    labels: Annotated[tuple[Label, ...], Items(65536)] = ()
    targets: Annotated[tuple[Label, ...], Items(4096)] = ()
    horizon: Count = 0
    mean: Annotated[tuple[float, ...], Items(4096)] = ()
    scale: Annotated[tuple[float, ...], Items(4096)] = ()
    leads: Annotated[tuple[Positive, ...], Items(65536)] = ()
    seasons: Annotated[tuple[Positive, ...], Items(8)] = ()

    @property
    def steps(self) -> tuple[int, ...]:
        """Samples ahead that are forecast; empty for other kinds."""
        return self.leads or tuple(range(1, self.horizon + 1))


@dataclass(frozen=True)
class Adaptation:
    """How a device adapts by gradient steps.

    Attributes:
        kind: `gradient`.
        steps: gradient steps of one adaptation, each over one batch drawn from the support; 0: the start is
            one model for all and never adapts.
        inner_lr: step size of parameters without learned rates.
        shots: support examples to keep, by class (classification) or in all.
        batch: examples `adapt.onnx` takes at once; shorter ones are padded with weight 0.
        loss: the per-example loss inside `adapt.onnx`, so that a device can compute it from outputs too:
            `cross_entropy` of logits in nats, `mse`, `mae` and `huber` (delta 1) averaged over the outputs,
            on normalized targets.
        trainable: names of the parameters that move, in the order of the outputs `next.*`.
        rates: names of the trainable parameters that have learned rates.
    """

    steps: Count
    inner_lr: float
    shots: Positive
    batch: Positive
    loss: LossName
    trainable: Annotated[tuple[str, ...], Items(4096)]
    rates: Annotated[tuple[str, ...], Items(4096)] = ()
    kind: Literal["gradient"] = "gradient"


@dataclass(frozen=True)
class ClosedForm:
    """How a device adapts by solving its heads, one label at a time.

    Attributes:
        kind: `closed-form`.
        heads: what is solved: `last`, the Bayesian last layer, `means`, the class means, or both.
        forgetting: of each head, what is left of the device's own after one more label; 1 forgets nothing.
        shots: support examples to keep, by class (classification) or in all, to teach a next version by.
        loss: the per-example loss that a device reports; see `Adaptation`.
    """

    kind: Literal["closed-form"]
    heads: Annotated[tuple[HeadName, ...], Items(2)]
    forgetting: Annotated[tuple[Annotated[float, Number(0.5, 1.0)], ...], Items(2)]
    shots: Positive
    loss: LossName

    def __post_init__(self) -> None:
        if not 0 < len(set(self.heads)) == len(self.heads) == len(self.forgetting):
            told = f"{self.heads} with forgetting {self.forgetting}"
            raise ProtocolError(f"ClosedForm.heads: {told}; name each head once, with its forgetting")


@dataclass(frozen=True)
class NormalWindows:
    """How a device learns what is normal on it, and tells what is not: see `acclimate_device.normality`.

    Attributes:
        kind: `normal`.
        shots: normal windows after which its figures were measured.
        loss: of labels, which this kind does not take.
    """

    kind: Literal["normal"]
    shots: Positive
    loss: LossName = "mse"


@dataclass(frozen=True)
class CurvePoint:
    """The metric over held-out tasks after some adaptation steps: mean and quantiles by name (`p05`...).

    Attributes:
        steps: gradient steps taken; 0 is the start.
        mean: over the held-out tasks.
        quantiles: over the held-out tasks, by name.
    """

    steps: Count
    mean: float
    quantiles: Annotated[Mapping[str, float], Items(16)] = field(default_factory=dict)


@dataclass(frozen=True)
class Expected:
    """The adaptation curve measured on tasks that training never saw.

    Attributes:
        metric: its name, such as `accuracy`.
        higher_is_better: which way is good.
        shots: support examples, of each class in classification.
        tasks: how many held-out tasks were measured.
        points: the curve, by steps.
    """

    metric: str
    higher_is_better: bool
    shots: Positive
    tasks: Positive
    points: Annotated[tuple[CurvePoint, ...], Items(64)]


@dataclass(frozen=True)
class Cost:
    """What a device pays.

    Attributes:
        parameters: numbers in the parameters.
        file_bytes: all files but the manifest.
        peak_memory_bytes: most tensor bytes alive at once in one adaptation step, counted on the traced
            graph; the process and its runtime come on top.
        macs_per_step: multiply-adds of one adaptation step over a full batch, or of one label in closed form.
        macs_per_prediction: multiply-adds of one prediction.
    """

    parameters: Count
    file_bytes: Count
    peak_memory_bytes: Count = 0
    macs_per_step: Count = 0
    macs_per_prediction: Count = 0


@dataclass(frozen=True)
class File:
    """Length and SHA-256 of one file; the TUF targets metadata says the same.

    Attributes:
        length: bytes.
        sha256: in hex.
    """

    length: Annotated[int, Number(1, 2**31 - 1)]
    sha256: Hash


@dataclass(frozen=True)
class Manifest:
    """One bundle, described; see the package docstring for its files and the contract of its graphs.

    Attributes:
        release: name, version and content hash of the initialization.
        input: what one example is.
        output: what the outputs mean.
        adaptation: how a device adapts.
        cost: what it costs a device.
        files: every other file by name: `FILES`, `CLOSED_FORM_FILES` or `NORMAL_FILES`, by the kind of
            adaptation, no more and no less.
        learner: what meta-trained it (`maml`, `reptile`, ...).
        run_id: the MLflow run it came from; empty if none.
        verdict: what its evaluation came to, in one sentence; empty where nobody judged it.
        sanity_tolerance: largest error a device accepts on the sanity vector: absolute, and of heads in
            closed form relative to the largest number of a label's row, at least 1.
        expected: None where nobody measured it.
    """

    release: Release
    input: Input
    output: Output
    adaptation: Adaptation | ClosedForm | NormalWindows
    cost: Cost
    files: Annotated[Mapping[Name, File], Items(16)]
    learner: str
    expected: Expected | None = None
    run_id: str = ""
    verdict: str = ""
    sanity_tolerance: Annotated[float, Number(0.0, 1.0)] = 1e-4
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        whole = _FILES_OF[type(self.adaptation)]
        if set(self.files) != set(whole):
            raise ProtocolError(f"Manifest.files: {sorted(self.files)}, a bundle holds {sorted(whole)}")
        _check_normalization("input", self.input.mean, self.input.scale, self.input.shape[0])
        _check_window(self.input)
        _check_preprocessing(self.input)
        _check_outputs(self.output)
        labels, width = self.output.labels, self.output.width
        if self.output.kind == "classification" and len(set(labels)) != width:
            raise ProtocolError(f"Manifest.output.labels: {len(set(labels))} distinct, the width is {width}")
        if not isinstance(self.adaptation, Adaptation):
            return
        unknown = set(self.adaptation.rates) - set(self.adaptation.trainable)
        if unknown:
            raise ProtocolError(f"Manifest.adaptation.rates: {sorted(unknown)} are not trainable")


_FILES_OF: Mapping[type, tuple[str, ...]] = {
    Adaptation: FILES,
    ClosedForm: CLOSED_FORM_FILES,
    NormalWindows: NORMAL_FILES,
}


def _check_window(entry: Input) -> None:
    lags = entry.lags
    if lags and (list(lags) != sorted(set(lags), reverse=True) or lags[-1] != 0 or lags[0] >= entry.window):
        raise ProtocolError(
            f"Manifest.input.lags: {lags[:4]}..., they must descend to 0 from below window {entry.window}"
        )
    if lags and entry.shape[-1] != len(lags):
        raise ProtocolError(f"Manifest.input.shape: {entry.shape}, but there are {len(lags)} lags")


def _check_preprocessing(input_: Input) -> None:
    steps, width = input_.preprocessing, input_.shape[0]
    for name, values in (("offset", steps.offset), ("low", steps.low), ("high", steps.high)):
        if len(values) not in (0, width):
            raise ProtocolError(
                f"Manifest.input.preprocessing.{name}: {len(values)} numbers for {width} channels"
            )
    unknown = {*steps.relative, *steps.still} - set(input_.channels)
    if unknown:
        raise ProtocolError(f"Manifest.input.preprocessing: {sorted(unknown)} are no channels")


def _check_outputs(output: Output) -> None:
    targets, steps = len(output.targets), len(output.steps)
    if steps and targets and output.width != targets * steps:
        raise ProtocolError(
            f"Manifest.output.width: {output.width}, but {targets} targets over {steps} steps are "
            f"{targets * steps}"
        )
    if output.leads and (
        list(output.leads) != sorted(set(output.leads)) or output.leads[-1] != output.horizon
    ):
        raise ProtocolError(
            f"Manifest.output.leads: {output.leads}, they must ascend and end at horizon {output.horizon}"
        )
    by_target = targets and len(output.mean) == targets and output.width % targets == 0
    _check_normalization("output", output.mean, output.scale, targets if by_target else output.width)


def _check_normalization(where: str, mean: tuple[float, ...], scale: tuple[float, ...], width: int) -> None:
    if (len(mean), len(scale)) not in ((0, 0), (width, width)):
        raise ProtocolError(
            f"Manifest.{where}: {len(mean)} means and {len(scale)} scales for {width} channels; give one each"
        )
    if min(scale, default=1.0) <= 0.0:
        raise ProtocolError(f"Manifest.{where}.scale: {min(scale)}, it must be above 0")
