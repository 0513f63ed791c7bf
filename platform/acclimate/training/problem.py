"""A recipe made concrete: opened data, held-out tasks, a network to start from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.errors import DataError, RecipeError
from acclimate.initialization import AdaptationPolicy, Initialization, InputSchema, ModelSpec, Normalization
from acclimate.learners import (
    ClosedFormLearner,
    Learner,
    LearnerConfig,
    Loss,
    MetaParams,
    build_learner,
    check_head,
    loss_for,
    under,
)
from acclimate.models import build, calibrate, parameters_of
from acclimate.tasks import Sampler, Split, TaskDistribution, TaskPool, open_tasks, split_tasks
from acclimate.tasks.episodes import Examples, Indices
from acclimate.tasks.episodes.augmentation import AugmentedSampler
from acclimate.tasks.pool.periods import Period, restricted
from acclimate.tasks.pool.sampler import PoolSampler
from acclimate.training.federated.attacks import LyingSampler
from acclimate.training.recipe import Recipe
from acclimate_device import calendar

CALIBRATION_TASKS = 16
"""Training tasks whose windows set a front end's shift and scale."""
_MOMENT_SHOTS = 30  # examples a class of each half of a task, for the moments of a closed-form prior


@dataclass(frozen=True)
class Problem:
    """What a recipe trains on and with; the same on the driver and on every worker.

    Attributes:
        data: every task.
        split: which of them are trained on and which held out.
        normalization: measured on the training tasks.
        model: the network, with the recipe's seeded initial parameters.
        spec: how a device builds it.
        loss: what adaptation lowers.
    """

    recipe: Recipe
    data: TaskDistribution
    split: Split
    normalization: Normalization
    model: nn.Module
    spec: ModelSpec
    loss: Loss

    def again(self, recipe: Recipe, measured: Normalization | None = None) -> Problem:
        """The problem of another recipe on the same opened data, such as another seed or the joint baseline.

        Its `data` section may hold out other groups, and name nothing else.

        Args:
            measured: the normalization, where other groups are held out and it was measured already.
        """
        if recipe.data == self.recipe.data:
            return _problem(recipe, self.data, self.split, self.normalization)
        split = _split(recipe, self.data)
        return _problem(recipe, self.data, split, measured or self.data.normalization(split.train))

    def sampler(self, tasks: Indices, shots: int | None = None) -> Sampler:
        """Draws episodes of `tasks` over all of the time, with other `shots` than the recipe's if given."""
        plan = self.recipe.episodes.plan(shots)
        return self.data.sampler(tasks, plan, self.normalization, self.recipe.seed)

    def data_of(self, period: Period) -> TaskDistribution:
        """The data of a period of the training time."""
        until = self.recipe.data.until
        if until == 1 and period == "all":
            return self.data
        if not isinstance(self.data, TaskPool):
            raise RecipeError(
                "data.until and training.period are for recordings: generated tasks have no time"
            )
        return restricted(self.data, until, period)

    def validation_sampler(self, shots: int | None = None, most: int | None = None) -> Sampler:
        """Draws episodes of the validation tasks, at most `most`, over the time that is held out for them."""
        data = self.data_of("held" if self.recipe.training.period == "fitted" else "all")
        plan = self.recipe.episodes.plan(shots)
        return data.sampler(self.split.validation[:most], plan, self.normalization, self.recipe.seed)

    def training_sampler(self) -> Sampler:
        """Draws training episodes, varied and augmented as the recipe says."""
        classes = self.data.schema.kind == "classification"
        plan = self.recipe.episodes.training_plan(self.recipe.closed_form, classes)
        seed = self.recipe.seed
        data = self.data_of(self.recipe.training.period)
        sampler = data.sampler(self.split.train, plan, self.normalization, seed)
        augmentation = self.recipe.augmentation.augmentation()
        if augmentation is not None:
            sampler = AugmentedSampler(sampler, augmentation, self.normalization, seed)
        federated = self.recipe.federated
        if federated and federated.attack == "label-flip":
            return LyingSampler(sampler, seed, len(self.training_devices()), federated.attackers)
        return sampler

    def training_devices(self) -> Indices:
        """The tasks that training draws from: those with a support and a query example.

        Raises:
            RecipeError: tasks are generated, and so no devices.
        """
        data = self.data_of(self.recipe.training.period)
        if not isinstance(data, TaskPool):
            raise RecipeError("federated is for recordings of devices: generated tasks are none")
        plan = self.recipe.episodes.plan()
        return PoolSampler.over(data, self.split.train, plan, None, self.recipe.seed).tasks

    def learner_config(self) -> LearnerConfig:
        """The recipe's learner, fitted to its episodes."""
        return self.recipe.learner.config(exchangeable=self.recipe.episodes.ways is not None)

    def learner(self, outer_steps: int | None = None) -> Learner:
        """The recipe's learner.

        Args:
            outer_steps: length of the run, by which `compile: auto` tells whether compiling comes back; None:
                for adaptation, which never compiles.
        """
        return build_learner(self.learner_config(), self.model, self.loss, outer_steps=outer_steps)

    def start(self) -> MetaParams:
        """The meta-parameters before the first step."""
        return self.learner().init(parameters_of(self.model))

    def start_from(self, known: Initialization) -> MetaParams:
        """The meta-parameters of an earlier version, to go on from; learned rates that it lacks are new.

        Raises:
            RecipeError: its network is another one.
        """
        fresh = self.start()
        given = {f"param.{name}": tensor for name, tensor in known.params.items()}
        own = {name: tuple(tensor.shape) for name, tensor in fresh.items() if name.startswith("param.")}
        if own != {name: tuple(tensor.shape) for name, tensor in given.items()}:
            raise RecipeError(
                f"training.start: that version is a {known.model.name} {dict(known.model.options)}, the "
                f"recipe asks for a {self.spec.name} {dict(self.spec.options)}, or their inputs or outputs "
                "differ: take over that version's `model` section, or leave `start` out"
            )
        if self.recipe.closed_form and not known.prior:  # a head of another learner is no prior of ours
            return self.warm_start(given)
        learned = {f"rate.{name}": tensor for name, tensor in known.rates.items()}
        learned |= {f"prior.{name}": tensor for name, tensor in known.prior.items()}
        given |= {
            name: one for name, one in learned.items() if name in fresh and one.shape == fresh[name].shape
        }
        return {name: given.get(name, tensor).detach().clone() for name, tensor in fresh.items()}

    def warm_start(self, joint: MetaParams) -> MetaParams:
        """Meta-parameters of closed-form heads on a joint model, their priors from the training tasks.

        Args:
            joint: the joint phase's meta-parameters.
        """
        learner = self.learner()
        assert isinstance(learner, ClosedFormLearner)
        return learner.warm(under(joint, "param."), self.training_examples())

    def training_examples(self) -> Examples:
        """Many of every training task, of both halves of its time."""
        plan = replace(self.recipe.episodes.plan(_MOMENT_SHOTS), query_shots=_MOMENT_SHOTS)
        sampler = self.data.sampler(self.split.train, plan, self.normalization, self.recipe.seed)
        every = sampler.every_task()
        return Examples(*(torch.cat(halves, 1) for halves in zip(every.support, every.query, strict=True)))

    def initialization(self, meta: MetaParams) -> Initialization:
        """What a device receives of trained meta-parameters."""
        trainable = self.learner().trainable
        params = under(meta, "param.")
        return Initialization(
            params=params,
            rates=under(meta, "rate."),
            prior=under(meta, "prior."),
            model=self.spec,
            schema=self.data.schema,
            normalization=self.normalization,
            adaptation=AdaptationPolicy(
                steps=1 if self.recipe.closed_form else self.recipe.learner.policy_steps,
                inner_lr=self.recipe.learner.inner_lr,
                shots=self.recipe.episodes.shots,
                trainable=() if len(trainable) == len(params) else trainable,
                loss=self.loss.name,
            ),
            learner=self.recipe.learner.algorithm,
        )


def open_problem(
    recipe: Recipe, measured: Normalization | None = None, content: str | None = None
) -> Problem:
    """Open the recipe's data and build its network.

    Args:
        measured: the normalization, where it was measured already: it takes a pass over all rows, and the
            last bits of another processor's would differ.
        content: fingerprint of the data that training began with; None takes what there is.

    Raises:
        DataError: the data cannot be opened or split, or others are there by now.
        ModelError: the network cannot be built.
        RecipeError: parts of the recipe do not fit the data.
    """
    data = open_tasks(recipe.data.source, options=recipe.data.options, recordings=recipe.data.recordings)
    if content is not None and data_fingerprint(data) != content:
        raise DataError(
            f"{recipe.data.source} holds other data ({data_fingerprint(data)[:12]}) than training began with "
            f"({content[:12]}): it was built anew meanwhile; put the old ones back, or train anew"
        )
    split = _split(recipe, data)
    return _problem(recipe, data, split, measured or data.normalization(split.train))


def _split(recipe: Recipe, data: TaskDistribution) -> Split:
    return split_tasks(
        data,
        test=recipe.data.test,
        validation=recipe.data.validation,
        test_groups=recipe.data.test_groups,
        validation_groups=recipe.data.validation_groups,
        seed=recipe.data.split_seed,
    )


def _problem(recipe: Recipe, data: TaskDistribution, split: Split, normalization: Normalization) -> Problem:
    sampler = data.sampler(split.train, recipe.episodes.plan(), normalization, recipe.seed)
    spec = ModelSpec(
        recipe.model.name, tuple(sampler.input_shape), sampler.outputs, _model_options(recipe, data.schema)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build(spec)
    calibrate(model, lambda: _windows(sampler))
    if data.schema.kind == "anomaly":
        _check_anomaly(recipe, model)
    if recipe.closed_form:
        check_head(model, spec.input_shape)
    if augmentation := recipe.augmentation.augmentation():
        augmentation.check(data.schema)
    return Problem(
        recipe, data, split, normalization, model, spec, loss_for(data.schema.kind, recipe.learner.loss)
    )


def _check_anomaly(recipe: Recipe, model: nn.Module) -> None:
    """Raise a RecipeError where features would be random, or something else than a density is asked for."""
    if not recipe.closed_form:
        raise RecipeError(
            f"learner.algorithm is {recipe.learner.algorithm!r}: what is normal is known in closed form, so "
            "use closed-form for data of kind anomaly"
        )
    if recipe.model.name in ("levels", "spectral") and not recipe.model.options.get("hidden"):
        return
    if ":" not in recipe.model.name or not hasattr(model, "body"):
        raise RecipeError(
            f"model.name is {recipe.model.name!r}, whose features nothing trains for data of kind anomaly: "
            "use levels, spectral with `hidden: []`, or your own network with a `body`"
        )


def _model_options(recipe: Recipe, schema: InputSchema) -> dict[str, Any]:
    """The recipe's, and what a forecast's network has to know of the data.

    Raises:
        RecipeError: a target is no channel: its past, from which a forecast goes on, is not known.
    """
    if recipe.model.name == "spectral" and schema.kind == "anomaly":
        return {"hidden": [], **recipe.model.options}  # hidden layers would stay as they were drawn
    if recipe.model.name != "forecast":
        return dict(recipe.model.options)
    for target in schema.targets:
        if target not in schema.channels:
            raise RecipeError(
                f"model forecast goes on from the past of its targets, and {target!r} is not among "
                "`channels`: add it there, or use another model"
            )
    of_data = {
        "targets": [schema.channels.index(target) for target in schema.targets],
        "calendar": len(calendar.input_names(schema.calendar)),
    }
    return of_data | dict(recipe.model.options)


def _windows(sampler: Sampler) -> Tensor:
    """Inputs of a few training tasks, `(examples, *input_shape)`."""
    x, _, weight = sampler.episodes(0, range(CALIBRATION_TASKS)).support
    return x[weight > 0]


def data_fingerprint(data: TaskDistribution) -> str:
    """What the data are, for lineage: the content hash of a pool, or of a generator's definition."""
    if isinstance(data, TaskPool):
        return data.info.content_hash
    return hashlib.sha256(repr(data).encode()).hexdigest()


def joint_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the joint baseline: one model for all tasks, on the same episodes."""
    training = recipe.training
    optimizer = training.optimizer
    return recipe.model_copy(
        update={
            "learner": recipe.learner.model_copy(
                update={"algorithm": "joint", "serial": False, "first_order": False, "heads": "auto"}
            ),
            "training": training.model_copy(
                update={
                    "steps": recipe.baseline.steps or training.steps,
                    "stop_at": training.stop_at or None,  # 0 is of what begins on the joint model
                    "optimizer": optimizer.model_copy(update={"lr": recipe.baseline.lr or optimizer.lr}),
                }
            ),
        }
    )
