"""The recipe of a meta-training run: every key, its meaning and its default.

A run's parameters are a pure function of the recipe's `name`-independent part, see `Recipe.determines`; the
other keys say where it runs and what is measured afterwards.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from acclimate.learners import LearnerConfig
from acclimate.learners.config import Algorithm, CompileMode, HeadsChoice
from acclimate.tasks import EpisodePlan
from acclimate.tasks.episodes.augmentation import Augmentation
from acclimate.training.sections import (
    AnomalySection,
    BaselineSection,
    Count,
    DeviceSection,
    EvaluationSection,
    FederatedSection,
    Fraction,
    OptimizerSection,
    Positive,
    Section,
)


class DataSection(Section):
    """The recordings, and which tasks are held out."""

    source: str = Field(
        description="a named data set, the folder or URL of a task pool, or a Parquet path or URL"
    )
    options: dict[str, Any] = Field(default={}, description="arguments of a named data set, such as `window`")
    recordings: dict[str, Any] = Field(
        default={}, description="Parquet: what its columns mean (RecordingSchema)"
    )
    test: int | float = Field(
        default=0.2, description="groups held out for the report: a share below 1, or a number"
    )
    validation: int | float | None = Field(
        default=None,
        description="groups set aside to choose step sizes, numbers of steps and the best checkpoint on, a "
        "share or a number; by default a sixth where there are five or more groups",
    )
    test_groups: tuple[str, ...] = Field(
        default=(), description="groups to hold out by name or pattern, in place of `test`"
    )
    validation_groups: tuple[str, ...] = Field(
        default=(), description="groups to choose on by name or pattern, in place of `validation`"
    )
    split_seed: int = Field(default=0, description="of the random choice of held-out groups")
    until: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="share of the timeline that training and choosing see, so that the rest can judge them; "
        "held-out devices are judged from `episodes.support_fraction` on",
    )


class EpisodesSection(Section):
    """How an episode is cut out of a task."""

    shots: Count = Field(default=5, description="support examples of each class (classification) or in all")
    query_shots: Count = Field(default=15, description="query examples, counted likewise")
    ways: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="classes of an episode where every task is one class; leave out elsewhere"
    )
    order: Literal["time", "newest", "random"] = Field(
        default="time",
        description="`time`: support precedes query, as on a device; `newest`: support is whole, the newest "
        "examples before the query; `random` flatters",
    )
    support_fraction: Fraction = Field(
        default=0.5, description="the part of the timeline that support comes from"
    )
    gap: Annotated[int, Field(ge=0)] = Field(default=0, description="rows unused between support and query")
    query_span: Count | None = Field(
        default=None,
        description="`newest`: examples after the support that query is drawn from; all if left out",
    )
    newest_share: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="share of training episodes whose support is the newest before a random moment; by "
        "default half for closed-form on real targets, all where `order` is newest, else none",
    )
    vary_shots: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None,
        description="numbers of shots that training draws from, 0 among them for a start that serves before "
        "the first label; by default those of closed-form up to `shots`, and `shots` alone elsewhere",
    )

    def plan(self, shots: int | None = None) -> EpisodePlan:
        """The plan for evaluation, with other `shots` if given."""
        shots = self.shots if shots is None else shots
        newest = float(self.order == "newest")
        return EpisodePlan(**self._cut(), shots=shots, newest=newest, query_span=self.query_span)

    def training_plan(self, closed_form: bool, classes: bool) -> EpisodePlan:
        """The plan for training: as for evaluation, and varied as the keys say.

        Args:
            closed_form: whether heads are solved, and so serve any number of shots.
            classes: whether targets are classes.
        """
        vary = self.vary_shots
        if vary is None:
            vary = _usual_shots(self.shots, classes) if closed_form else ()
        share = self.newest_share
        if share is None:
            share = 1.0 if self.order == "newest" else 0.5
            share *= self.order == "newest" or (closed_form and not classes and self.order == "time")
        return EpisodePlan(
            **self._cut(), shots=self.shots, newest=share, query_span=self.query_span, anywhen=True, vary=vary
        )

    def _cut(self) -> dict[str, Any]:
        return {
            "query_shots": self.query_shots,
            "ways": self.ways,
            "order": "random" if self.order == "random" else "time",
            "support_fraction": self.support_fraction,
            "gap": self.gap,
        }


def _usual_shots(shots: int, classes: bool) -> tuple[int, ...]:
    """None, few and all."""
    if classes:
        return tuple(sorted({min(few, shots) for few in (0, 1, 2, 3, 5)} | {shots}))
    return tuple(sorted({0, min(6, shots), -(-shots // 3), shots}))


class AugmentationSection(Section):
    """Further devices out of the training tasks: what is drawn holds for a task's support and query alike."""

    axes: tuple[tuple[str, str, str], ...] = Field(
        default=(), description="sensors of three channels each, x, y and z, that are turned together"
    )
    rotation: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="how far sensors are turned: a typical angle is twice this, in radians"
    )
    gain: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="standard deviation of each channel's gain, around 1"
    )
    offset: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="standard deviation of each channel's offset, in normalized units"
    )

    def augmentation(self) -> Augmentation | None:
        """For the sampler; None where nothing is varied."""
        made = Augmentation(**self.model_dump())
        return made if made.rotation or made.gain or made.offset else None


class ModelSection(Section):
    """The network; its input shape and outputs follow from the data."""

    name: str = Field(
        default="mlp",
        description="`mlp`, `conv1d`, `conv4`, `gru`, `spectral`, `forecast`, or `package.module:callable`",
    )
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the network")


class LearnerSection(Section):
    """How the start is learned and how a task adapts from it."""

    algorithm: Algorithm = Field(default="maml", description="the meta-learner, or a baseline")
    heads: HeadsChoice = Field(
        default="auto",
        description="closed-form: what is solved; `auto` is `both` for classes and `last-layer` elsewhere",
    )
    inner_lr: Positive = Field(default=0.05, description="step size of adaptation; learned rates start here")
    inner_steps: Count = Field(default=5, description="gradient steps on the support during training")
    adapt_steps: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="gradient steps a device takes at most; as many as `inner_steps` if left out; 0, joint "
        "only: it never adapts",
    )
    trainable: str | tuple[str, ...] = Field(
        default="all", description="what adaptation moves: `all`, `head`, `biases`, or parameter names"
    )
    first_order: bool = Field(default=False, description="leave out the second derivative")
    multi_step: Annotated[int, Field(ge=0)] = Field(
        default=1000, description="maml++: outer steps during which the loss after every inner step counts"
    )
    serial: bool = Field(
        default=False, description="reptile: each task of a shard starts where the last one ended"
    )
    serial_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1, description="reptile with `serial`: how far to move towards each task's weights"
    )
    loss: Literal["cross_entropy", "mse", "mae", "huber"] | None = Field(
        default=None,
        description="what adaptation lowers; by default cross entropy for classes, else mse",
    )
    compile: CompileMode = Field(default="auto", description="torch.compile for the meta-gradient")

    def config(self, exchangeable: bool = False) -> LearnerConfig:
        """For `build_learner`; `exchangeable`: classes mean something within an episode alone."""
        given = self.model_dump(exclude={"loss", "adapt_steps"})
        return LearnerConfig(**given, exchangeable=exchangeable)

    @property
    def policy_steps(self) -> int:
        """Gradient steps of one adaptation on a device; for closed-form, those its rivals may take."""
        usual = 10 if self.algorithm == "closed-form" else self.inner_steps
        return usual if self.adapt_steps is None else self.adapt_steps


class TrainingSection(Section):
    """The outer loop."""

    steps: Count = Field(default=1000, description="outer steps")
    start: int | str | None = Field(
        default=None,
        description="registered version of the recipe's name to go on from: a number, an alias or a content "
        "hash; new parameters if left out",
    )
    meta_batch: Count = Field(default=16, description="tasks a step")
    shard: Count = Field(
        default=4, description="tasks a worker computes at a time; part of the result's bits"
    )
    optimizer: OptimizerSection = OptimizerSection()
    period: Literal["all", "fitted"] = Field(
        default="all",
        description="`fitted` leaves every fifth block of the training time to validation: devices of one "
        "place share their weather, so a device that is held out over the same days is half known",
    )
    stop_at: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="ends after so many of `steps`, whose schedule stays; all if left out; 0, closed-form "
        "only: the joint model, trained in full, with its heads solved and no meta-training",
    )
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="weight averaging: the start is the running mean of the weights, which keeps this share "
        "of itself each step; 0 takes the last weights",
    )
    engine: Literal["tasks", "ddp"] = Field(
        default="tasks",
        description="`tasks`: stateless workers, the same bits with any number of them; `ddp`: Ray Train, "
        "every worker holds the model and meta-gradients are all-reduced, for large models",
    )
    workers: Annotated[int, Field(ge=0)] = Field(
        default=2, description="Ray workers; 0 trains in this process"
    )
    min_workers: Count | None = Field(
        default=None, description="ddp: go on with this few while others are lost; by default all are awaited"
    )
    gpu: bool = Field(default=False, description="ddp: a GPU for each worker")
    checkpoint_every: Count = Field(default=50, description="steps between checkpoints")
    validate_every: Count | None = Field(
        default=None,
        description="steps between looks at the validation tasks, of which the best is kept; by default a "
        "twentieth of `steps`",
    )
    patience: Count | None = Field(
        default=10, description="looks without a better one before training ends early; null never ends early"
    )

    @property
    def last_step(self) -> int:
        """After which training ends."""
        return self.steps if self.stop_at is None else min(self.steps, self.stop_at)


class Recipe(Section):
    """One meta-training run."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="of the run's experiment and of the registered model",
    )
    description: str = Field(default="", description="a line for people")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of initial parameters and episodes")
    data: DataSection
    episodes: EpisodesSection = EpisodesSection()
    augmentation: AugmentationSection = AugmentationSection()
    model: ModelSection = ModelSection()
    learner: LearnerSection = LearnerSection()
    training: TrainingSection = TrainingSection()
    baseline: BaselineSection = BaselineSection()
    evaluation: EvaluationSection = EvaluationSection()
    anomaly: AnomalySection = AnomalySection()
    device: DeviceSection = DeviceSection()
    federated: FederatedSection | None = None

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.training.meta_batch % self.training.shard:
            raise ValueError(
                f"training.meta_batch {self.training.meta_batch} is no multiple of training.shard "
                f"{self.training.shard}: shards have one size, so that bits do not depend on the workers"
            )
        self.learner.config()  # its own checks of what fits together
        self._none_fits()
        self._engine_fits()
        self._federated_fits()
        return self

    def _none_fits(self) -> None:
        if self.learner.adapt_steps == 0 and self.learner.algorithm != "joint":
            raise ValueError(
                f"learner.adapt_steps is 0 and learner.algorithm {self.learner.algorithm!r}, whose start is "
                "made to be adapted: use 1 or more, or joint"
            )
        solved = self.closed_form and self.baseline.joint and self.federated is None
        if self.training.stop_at == 0 and not solved:
            raise ValueError(
                "training.stop_at is 0, which ships the joint model with its heads solved: that takes "
                "learner.algorithm closed-form, baseline.joint, and no `federated`"
            )

    def _engine_fits(self) -> None:
        training = self.training
        if training.engine == "tasks":
            if training.gpu or training.min_workers:
                raise ValueError("training.gpu and training.min_workers are for training.engine: ddp")
            return
        if training.workers == 0:
            raise ValueError("training.engine is ddp and training.workers 0: give it at least one worker")
        if (training.min_workers or 0) > training.workers:
            raise ValueError(
                f"training.min_workers {training.min_workers} is above training.workers {training.workers}"
            )

    def _federated_fits(self) -> None:
        if self.federated is None:
            return
        algorithm, heads = self.learner.algorithm, self.learner.heads
        if algorithm == "closed-form" and heads != "last-layer":
            raise ValueError(
                f"federated closed-form learns the last layer, and learner.heads is {heads!r}: use last-layer"
            )
        if algorithm in ("joint", "device-only") or self.learner.serial:
            raise ValueError(
                f"federated has no round for learner.algorithm {algorithm!r}"
                + (" with serial" if self.learner.serial else "")
                + ": use closed-form, maml with first_order, or reptile"
            )
        if self.training.engine == "ddp" or self.episodes.ways is not None:
            raise ValueError("federated needs training.engine: tasks, and devices as tasks: no episodes.ways")

    @property
    def closed_form(self) -> bool:
        """Whether a device solves its head instead of taking gradient steps."""
        return self.learner.algorithm == "closed-form"

    def determines(self) -> dict[str, Any]:
        """The part that decides the trained parameters' bits, as JSON types; beside it the version that
        training starts from, which the first checkpoint holds."""
        document = self.model_dump(
            mode="json", exclude={"name", "description", "baseline", "evaluation", "device"}
        )
        for elsewhere in ("start", "workers", "min_workers", "checkpoint_every"):
            del document["training"][elsewhere]
        if self.federated is None:  # so that the hashes of other recipes stay
            del document["federated"]
        return document

    def content_hash(self) -> str:
        """SHA-256 of `determines()` in canonical JSON, in hex."""
        canonical = json.dumps(self.determines(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as `a.b.c` keys."""
    entries: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and value:
            entries |= flat(value, f"{prefix}{key}.")
        else:
            entries[f"{prefix}{key}"] = value
    return entries


def differing_keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """`key: one's value -> other's value` for every key in which two recipe documents differ."""
    left, right = flat(one), flat(other)
    return [
        f"{key}: {left.get(key)!r} -> {right.get(key)!r}"
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]
