"""From trained meta-parameters to an evaluation on held-out tasks, and to what is shipped."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from acclimate import evaluation as ev
from acclimate.errors import ModelError, RecipeError, RegistryError, TrainingError
from acclimate.initialization import Initialization
from acclimate.learners import MetaParams
from acclimate.registry import Registry, VersionInfo
from acclimate.tasks import Sampler
from acclimate.tasks.episodes import Indices
from acclimate.tasks.pool.periods import days_of
from acclimate.traces import traced
from acclimate.training.checkpoint import load_checkpoint
from acclimate.training.finishing import Fold, finished, ready
from acclimate.training.loop import still_falling
from acclimate.training.problem import Problem, joint_recipe, open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import load_recipe
from acclimate.training.shard import deterministic
from acclimate.workflow.candidates import recipe_of
from acclimate.workflow.listener import Listener
from acclimate.workflow.normal import fit_normal
from acclimate.workflow.phases import folds, joint_phase, meta_phase, phases, solved_phase, with_changes


def evaluate_version(
    name: str,
    ref: str,
    *,
    listener: Listener,
    changes: Sequence[str] = (),
    tracking_uri: str | None = None,
) -> tuple[VersionInfo, ev.Evaluation]:
    """Measure a registered version and its rivals again, on the held-out tasks of its own recipe.

    Args:
        changes: `evaluation.key=value` changes of the recipe, such as more draws.

    Raises:
        RecipeError: a change is outside the `evaluation` section, or asks for seeds that were not trained.
        RegistryError: there is no such version, or its run lost its files.
    """
    for change in changes:
        if not change.startswith("evaluation.") or change.startswith("evaluation.seeds"):
            raise RecipeError(f"change {change!r}: only evaluation.* but `seeds` can change after training")
    registry = Registry.open(tracking_uri)
    version = registry.version(name, ref)
    with tempfile.TemporaryDirectory() as folder:
        files = registry.download_run(version.run_id, Path(folder))
        problem = open_problem(load_recipe(str(_kept(files / "recipe.yaml", registry, version)), changes))
        if problem.data.schema.kind == "anomaly":
            return version, fit_normal(problem, listener.on_evaluation)[1]
        for phase in phases(problem):
            _kept(files / f"{phase}.pt", registry, version)
        return version, evaluate_checkpoints(problem, files, listener)


def _kept(path: Path, registry: Registry, version: VersionInfo) -> Path:
    if not path.is_file():
        raise RegistryError(
            f"run {version.run_id} of {version.name} version {version.version} in {registry.where} lost its "
            f"{path.name}: restore it in MLflow's artifact store, or train again"
        )
    return path


def evaluate_checkpoints(problem: Problem, folder: Path, listener: Listener) -> ev.Evaluation:
    """Adaptation curves on the held-out tasks, from the checkpoint of each phase in a folder; and whether
    any of them was still getting better."""
    ended = {phase: load_checkpoint(folder / f"{phase}.pt") for phase in phases(problem)}
    evaluation = evaluate_starts(problem, {phase: each.result for phase, each in ended.items()}, listener)
    steps = problem.recipe.training.steps
    falling = any(
        still_falling(ended[phase], of.training)
        for phase, of in phases(problem).items()
        if of.training.steps == steps  # a phase of its own length would not be longer by it
    )
    return replace(evaluation, longer=2 * steps if falling else None)


@traced("evaluate")
def evaluate_starts(problem: Problem, metas: Mapping[str, MetaParams], listener: Listener) -> ev.Evaluation:
    """Adaptation curves on the held-out tasks, from the meta-parameters of each phase."""
    recipe = problem.recipe
    with deterministic():  # as in training: figures must not depend on how many cores there are
        metas = as_shipped(problem, proven(problem, metas)) | solved(problem, metas)
        trained = [
            trained_of(problem.again(with_changes(recipe, seed=seed)), metas, None)
            for seed in range(recipe.seed, recipe.seed + recipe.evaluation.seeds)
        ]
        trials, chosen_on = trials_of(problem, metas, trained[0])
        protocol, held_out = protocol_of(recipe), held_out_of(problem)
        return ev.evaluate(protocol, trained, held_out, trials, chosen_on, listener.on_evaluation)


@traced("choose-policy")
def chosen_initialization(problem: Problem, metas: Mapping[str, MetaParams]) -> Initialization:
    """What devices receive: the trained start, to be adapted as does best on the validation tasks.

    Raises:
        TrainingError: a parameter is not finite.
    """
    recipe = problem.recipe
    meta = metas[meta_phase(recipe.seed)]
    for name, tensor in meta.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"{name} holds NaN or infinity after training, so nothing is registered: lower "
                "training.optimizer.lr or learner.inner_lr, or set optimizer.clip_norm"
            )
    with deterministic():
        if recipe.closed_form:  # which has neither rate nor steps
            metas = proven(problem, metas)
            folded = _finishing_folds(problem, metas)
            return problem.initialization(finished(problem, metas[meta_phase(recipe.seed)], folded))
        trained = trained_of(problem, metas, None)
        trials, _ = trials_of(problem, metas, trained)
        return shipped(problem, trained, trials)


def as_shipped(problem: Problem, metas: Mapping[str, MetaParams]) -> dict[str, MetaParams]:
    """What each seed made, with closed-form heads as wide and as sure of themselves as devices get them."""
    recipe, folded = problem.recipe, _finishing_folds(problem, metas)
    done = dict(metas)
    for seed in range(recipe.seed, recipe.seed + recipe.evaluation.seeds):
        phase = meta_phase(seed)
        done[phase] = ready(problem.again(with_changes(recipe, seed=seed)), metas[phase], folded)
    return done


def proven(problem: Problem, metas: Mapping[str, MetaParams]) -> Mapping[str, MetaParams]:
    """What each phase made, as far as its meta-training is of use on the validation tasks.

    Closed-form heads begin on the joint model, from moments. A checkpoint is chosen by its loss; where the
    metric, by which everybody is judged, is no better than there, that beginning is the start: what takes
    more has to prove its worth. A start that goes on from another version, or from devices that keep their
    examples, did not begin there.
    """
    recipe = problem.recipe
    elsewhere = recipe.federated is not None or recipe.training.start is not None
    begun = None if elsewhere or not recipe.closed_form else _on_joint(problem, metas)
    if begun is None or not (len(problem.split.validation) or begun.folds):
        return metas
    simple = dict(metas) | {meta_phase(seed): each.meta for seed, each in begun.seeds.items()}
    simple |= {meta_phase(recipe.seed, number): each.meta for number, each in enumerate(begun.folds)}
    return metas if _merit(problem, metas) > _merit(problem, simple) else simple


def solved(problem: Problem, metas: Mapping[str, MetaParams]) -> dict[str, MetaParams]:
    """The rival "joint + solved head": what the recipe of it would ship, from the joint models that are here.

    Empty where it is none: without a joint model, or a head to solve, or where it is the start itself.
    """
    recipe = problem.recipe
    wanted = recipe.training.stop_at != 0 and recipe.evaluation.rivals
    begun = _on_joint(problem, metas) if wanted else None
    if begun is None:
        return {}
    done = {
        solved_phase(seed): ready(each.problem, each.meta, begun.folds) for seed, each in begun.seeds.items()
    }
    return done | {solved_phase(recipe.seed, number): each.meta for number, each in enumerate(begun.folds)}


@dataclass(frozen=True)
class _Begun:
    """Closed-form heads on the joint models of each seed, and of the folds of the first."""

    seeds: Mapping[int, Fold]
    folds: Sequence[Fold]


def _on_joint(problem: Problem, metas: Mapping[str, MetaParams]) -> _Begun | None:
    """None without a joint model, or a head to solve."""
    recipe = problem.recipe

    def begun(of: Recipe, fold: int | None) -> Fold:
        part, joint = problem.again(recipe_of(of, "joint_solved")), _joint(of, metas, fold)
        assert joint is not None
        return Fold(part, part.warm_start(joint))

    if _joint(recipe, metas, None) is None:
        return None
    seeds = range(recipe.seed, recipe.seed + recipe.evaluation.seeds)
    try:
        return _Begun(
            {seed: begun(with_changes(recipe, seed=seed), None) for seed in seeds},
            [begun(fold, number) for number, fold in enumerate(folds(problem))],
        )
    except ModelError:
        return None


def _merit(problem: Problem, metas: Mapping[str, MetaParams]) -> float:
    """How good the first seed's start is on the tasks that settings are chosen on; more is better."""
    once = problem.recipe.evaluation.model_copy(update={"seeds": 1})
    done = as_shipped(problem.again(with_changes(problem.recipe, evaluation=once)), metas)
    trials, _ = trials_of(problem, done, trained_of(problem, done, None))
    value = _choice(problem, trials).value
    if value is None:
        return -math.inf
    return value if problem.loss.metric_name == "accuracy" else -value


def _choice(problem: Problem, trials: Sequence[ev.Trial], least: int = 0) -> ev.Choice:
    """The setting and the number of steps, from `least`, that do best at the policy's shots."""
    protocol = protocol_of(problem.recipe)
    shots = protocol.policy_shots
    paired = [
        (
            ev.own_start(trial.trained, protocol),
            [trial.tasks(shots).every_task(draw) for draw in range(ev.CHOOSING_DRAWS)],
        )
        for trial in trials
    ]
    return ev.choose(paired, problem.loss, protocol.policy_steps, least)


def shipped(problem: Problem, trained: ev.Trained, trials: Sequence[ev.Trial]) -> Initialization:
    """The start with the setting and the number of steps that do best on the trials' tasks.

    No step at all is left to the joint model: another start is made to be adapted, and each device finds out
    by itself whether that pays.
    """
    choice = _choice(problem, trials, 0 if problem.recipe.learner.algorithm == "joint" else 1)
    learner, meta = ev.at_setting(trained.learner, trained.meta, choice.setting)
    made = problem.initialization(meta)
    steps = ev.own_start(trained, protocol_of(problem.recipe)).steps[choice.position]
    return replace(made, adaptation=replace(made.adaptation, steps=steps, inner_lr=learner.config.inner_lr))


def trained_of(problem: Problem, metas: Mapping[str, MetaParams], fold: int | None) -> ev.Trained:
    """What one seed, or one fold of it, made."""
    recipe = problem.recipe
    plain = problem.again(joint_recipe(recipe))
    start, on_joint = metas.get(solved_phase(recipe.seed, fold)), None
    if start is not None:
        on_joint = problem.again(recipe_of(recipe, "joint_solved")).learner(), start
    return ev.Trained(
        seed=recipe.seed,
        learner=problem.learner(),
        meta=metas[meta_phase(recipe.seed, fold)],
        plain=plain.learner(),
        untrained=plain.start(),
        joint=_joint(recipe, metas, fold),
        train=problem.sampler(problem.split.train),
        loss=problem.loss,
        normalization=problem.normalization,
        solved=on_joint,
    )


def _joint(recipe: Recipe, metas: Mapping[str, MetaParams], fold: int | None) -> MetaParams | None:
    own = joint_phase(recipe.seed, fold)
    if recipe.learner.algorithm == "joint" and own not in metas:
        own = meta_phase(recipe.seed, fold)
    return metas.get(own)


def held_out_of(problem: Problem) -> ev.HeldOut:
    """The held-out tasks of a problem."""
    tasks = problem.split.test[: problem.recipe.evaluation.tasks]
    return ev.HeldOut(
        samplers(problem, tasks),
        groups={problem.data.task_ids[task]: problem.data.groups[task] for task in tasks.tolist()},
        words=_words(problem),
        days=days_of(problem.data, tasks),
    )


def protocol_of(recipe: Recipe) -> ev.EvaluationProtocol:
    """What the recipe wants measured, and what devices will do: a verdict is about the policy's shots."""
    section = recipe.evaluation
    return ev.EvaluationProtocol(
        shots=tuple(sorted({*section.shots, recipe.episodes.shots})),
        steps=section.steps,
        long_steps=section.long_steps,
        draws=section.draws,
        rates=section.rates,
        policy_shots=recipe.episodes.shots,
        policy_steps=recipe.learner.policy_steps,
        rivals=section.rivals,
    )


def samplers(problem: Problem, tasks: Indices) -> Callable[[int], Sampler]:
    """The sampler of some tasks, by shots."""
    return lambda shots: problem.sampler(tasks, shots)


def trials_of(
    problem: Problem, metas: Mapping[str, MetaParams], trained: ev.Trained
) -> tuple[list[ev.Trial], str]:
    """Where settings are chosen, and that in words."""
    most = problem.recipe.evaluation.tasks
    aside = problem.split.validation[:most]
    if len(aside):
        return [ev.Trial(trained, _validation(problem, most))], f"{len(aside)} validation tasks"
    parts = [problem.again(fold) for fold in folds(problem)]
    if parts:
        trials = [
            ev.Trial(trained_of(part, metas, number), _validation(part, most))
            for number, part in enumerate(parts)
        ]
        return trials, (
            f"{len(parts)} folds over the training devices, each trained without the fold: the fleet is too "
            "small to set any aside"
        )
    own = [ev.Trial(trained, samplers(problem, problem.split.train[:most]))]
    return own, "the training tasks themselves, for want of others: settings may suit them too well"


def _finishing_folds(problem: Problem, metas: Mapping[str, MetaParams]) -> list[Fold]:
    seed = problem.recipe.seed
    return [
        Fold(problem.again(fold), metas[meta_phase(seed, number)])
        for number, fold in enumerate(folds(problem))
    ]


def _validation(problem: Problem, most: int) -> Callable[[int], Sampler]:
    return lambda shots: problem.validation_sampler(shots, most)


def _words(problem: Problem) -> ev.Words:
    schema = problem.data.schema
    if problem.recipe.episodes.ways is not None:
        return ev.Words()
    scales = problem.normalization.target_scale
    if len(scales) != len(schema.targets):
        scales = (1.0,) * len(schema.targets)
    leads = schema.leads or tuple(range(1, schema.horizon + 1))
    return ev.Words(schema.labels, schema.targets, scales, leads)
