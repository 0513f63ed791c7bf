"""A trained start against a registered champion, both measured now, on the data of the challenger's recipe.

The champion is measured anew because the data may have changed since its own evaluation: a figure from other
recordings says nothing about these. Each start keeps its own normalization, rates and policy, as on a device.
Tasks held out now may have trained the champion; where that is so it has the advantage.
"""

from __future__ import annotations

from acclimate import evaluation as ev
from acclimate.errors import ModelError
from acclimate.initialization import Initialization
from acclimate.learners import LearnerConfig, MetaParams, build_learner, heads_in, loss_for
from acclimate.learners.learner import Learner
from acclimate.models import build
from acclimate.registry import Registry, VersionInfo
from acclimate.tasks import Sampler
from acclimate.training.problem import Problem, open_problem
from acclimate.training.recipe import Recipe


def challenge_champion(
    recipe: Recipe,
    challenger: Initialization,
    registry: Registry,
    ref: str,
    requirement: ev.Requirement,
) -> tuple[VersionInfo, ev.Challenge] | None:
    """Compare `challenger` with version `ref` of the recipe's name; None where no such version exists yet.

    Raises:
        ModelError: the champion reads other inputs or answers other questions than the data hold.
        RegistryError: the champion's files are not those that were registered.
    """
    champion = next((one for one in registry.versions(recipe.name) if _means(ref, one)), None)
    if champion is None:
        return None
    problem = open_problem(recipe)
    start, _ = registry.fetch(recipe.name, str(champion.version))
    theirs, ours = start.model, problem.spec
    if (theirs.input_shape, theirs.outputs) != (ours.input_shape, ours.outputs):
        raise ModelError(
            f"{recipe.name} version {champion.version} maps {theirs.input_shape} to {theirs.outputs} outputs "
            f"and the recipe {ours.input_shape} to {ours.outputs}: they cannot follow one another on a "
            "device, give the recipe a new name"
        )
    new, old = measure(problem, challenger), measure(problem, start)
    return champion, ev.challenge(new, old, requirement)


def measure(problem: Problem, start: Initialization) -> ev.Evaluation:
    """An initialization on the held-out tasks of `problem`, as a device adapts it."""
    recipe = problem.recipe
    tasks = problem.split.test[: recipe.evaluation.tasks]

    def test(shots: int) -> Sampler:
        return problem.data.sampler(tasks, recipe.episodes.plan(shots), start.normalization, recipe.seed)

    return ev.measure_start(
        *as_learner(start),
        test,
        shots=recipe.episodes.shots,
        steps=start.adaptation.steps,
        draws=recipe.evaluation.draws,
    )


def as_learner(start: Initialization) -> tuple[Learner, MetaParams]:
    """The learner that adapts an initialization by its own policy, and its meta-parameters."""
    policy = start.adaptation
    config = LearnerConfig(
        # adaptation is the same descent, or the same solution, whatever found the start
        algorithm="closed-form" if start.prior else "maml",
        heads=heads_in(start.prior) if start.prior else "auto",
        inner_lr=policy.inner_lr,
        inner_steps=max(1, policy.steps),  # of training; how many are taken is said where they are
        trainable=policy.trainable or "all",
        compile="off",
    )
    learner = build_learner(config, build(start.model), loss_for(start.schema.kind, policy.loss))
    parts = {"param": start.params, "rate": start.rates, "prior": start.prior}
    return learner, {f"{part}.{name}": each for part, named in parts.items() for name, each in named.items()}


def _means(ref: str, version: VersionInfo) -> bool:
    return ref in version.aliases or ref in (str(version.version), f"v{version.version}")
