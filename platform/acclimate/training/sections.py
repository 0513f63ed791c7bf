"""Sections of a recipe beside those of the learner: who trains a start, and what it is measured by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """Part of a recipe: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimizerSection(Section):
    """The outer optimizer."""

    name: Literal["adam", "adamw", "sgd"] = Field(default="adam", description="`adam`, `adamw` or `sgd`")
    lr: Positive = Field(default=1e-3, description="step size of the outer loop")
    final_lr: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="step size at the last step, reached along a cosine; leave out for a constant `lr`",
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of the steps in which the step size rises from a 25th of `lr` to it"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.0, description="sgd only")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="L2 penalty; decoupled for adamw"
    )
    clip_norm: Positive | None = Field(
        default=10.0, description="longest meta-gradient, L2; null never clips"
    )


class BaselineSection(Section):
    """The joint model that the report compares with, trained on the same tasks."""

    joint: bool = Field(default=True, description="train it; off where no one model fits all tasks (`ways`)")
    steps: Count | None = Field(default=None, description="outer steps; as many as `training` if left out")
    lr: Positive | None = Field(
        default=None, description="its step size; as in `training.optimizer` if left out"
    )


class EvaluationSection(Section):
    """The adaptation curves on held-out tasks."""

    shots: tuple[Count, ...] = Field(
        default=(1, 5),
        min_length=1,
        description="supports to adapt on, a curve each; the policy's own shots always have one",
    )
    steps: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 1, 2, 5, 10), min_length=1, description="gradient steps after which the metric is taken"
    )
    tasks: Count = Field(default=500, description="held-out tasks measured at most")
    draws: Count = Field(default=5, description="episodes drawn of each")
    seeds: Count = Field(
        default=1, description="training seeds; further ones train again, for the report only"
    )
    long_steps: Count = Field(
        default=50, description="a further point, far beyond what a device should have to do"
    )
    rates: tuple[Positive, ...] = Field(
        default=(0.003, 0.01, 0.03, 0.1, 0.3),
        min_length=1,
        description="step sizes tried for everybody who descends, on validation tasks",
    )
    rivals: bool = Field(
        default=True,
        description="measure rivals that need no meta-learning: mean and nearest of the support, a solved "
        "head on the joint model, pooled boosted trees, a pooled linear model",
    )

    @model_validator(mode="after")
    def _ascending(self) -> EvaluationSection:
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps are {list(self.steps)}: list them ascending, each once")
        return self


class AnomalySection(Section):
    """What alarms may cost, where the data are of kind `anomaly`."""

    false_alarms: Positive = Field(
        default=30.0, description="false alarms that a device may give in a month, which sets the threshold"
    )
    quiet: Count = Field(
        default=12, description="windows without an alarm after which a further one counts as new"
    )


class DeviceSection(Section):
    """What the smallest device of the fleet carries; `acclimate export` refuses a version that needs more."""

    parameters: Count | None = Field(default=None, description="numbers in the parameters")
    file_bytes: Count | None = Field(default=None, description="all files of a bundle but its manifest")
    peak_memory_bytes: Count | None = Field(
        default=None, description="tensor bytes alive at once in one adaptation step"
    )
    macs_per_step: Count | None = Field(
        default=None, description="multiply-adds of one adaptation step over a full batch"
    )
    macs_per_prediction: Count | None = Field(default=None, description="multiply-adds of one prediction")
    ram_bytes: Count | None = Field(default=None, description="of a microcontroller, for `export --target c`")
    flash_bytes: Count | None = Field(default=None, description="of a microcontroller: code and weights")
    instructions_per_label: Count | None = Field(
        default=None, description="of a microcontroller with a floating-point unit, for one label"
    )
    instructions_per_step: Count | None = Field(
        default=None, description="of the same, for one gradient step over a full batch"
    )


class FederatedSection(Section):
    """Training in which devices keep their examples and send moments (closed-form) or gradients."""

    aggregator: Literal["mean", "clipped-mean", "trimmed-mean", "geometric-median", "multi-krum"] = Field(
        default="clipped-mean",
        description="how a round's devices become one: `mean` is exact, the others bound what liars can do",
    )
    liars: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.2, description="share of devices that may lie, for trimmed-mean and multi-krum"
    )
    bits: Annotated[int, Field(ge=8, le=24)] = Field(
        default=24, description="after the point of the integers that devices send; sums of them are exact"
    )
    clip: Positive | None = Field(
        default=None, description="longest vector a device sends, L2; longer ones are shortened there"
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="standard deviation of the noise on a round's sum, in units of `clip`: user-level "
        "differential privacy, see `acclimate campaign plan`",
    )
    secure: bool = Field(
        default=False,
        description="rehearse sums that hide what each device gives (secure aggregation); needs "
        "`aggregator: mean`",
    )
    dropouts: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of a round's devices that vanish before they give anything"
    )
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=1e-5, description="chance that the bound on privacy does not hold; below one in the fleet"
    )
    fleet: Count | None = Field(
        default=None,
        description="devices of a round whose noise is rehearsed; those of the recipe if left out",
    )
    attack: Literal["sign-flip", "noise", "label-flip", "a-little-is-enough"] | None = Field(
        default=None, description="rehearse lying devices"
    )
    attackers: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="share of the training devices that lie, where `attack` is set"
    )

    @model_validator(mode="after")
    def _private(self) -> FederatedSection:
        if self.secure and self.aggregator != "mean":
            raise ValueError(
                f"secure hides each device's part, which aggregator {self.aggregator} has to see: set "
                "aggregator: mean"
            )
        if self.noise and (self.clip is None or self.aggregator != "mean"):
            raise ValueError(
                f"noise {self.noise:g} protects nobody with aggregator {self.aggregator} and clip "
                f"{self.clip}: set aggregator: mean and a clip, which bounds what one device can add"
            )
        return self
