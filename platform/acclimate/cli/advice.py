"""What to do after a verdict, in commands; and where no bundle holds what is best, in a plain sentence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acclimate.cli.output import next_step, repeated, say, word

if TYPE_CHECKING:
    from acclimate.evaluation import Verdict
    from acclimate.evaluation.contenders import Start
    from acclimate.training.recipe import Recipe

_NO_BUNDLE: dict[Start, str] = {
    "support": "that takes no model: let each device answer with the commonest of its own labels, or with "
    "their mean or median",
    "persistence": "that takes no model: forecast the last value; the SDK's Forecaster does so beside any "
    "bundle, wherever that is best",
    "seasonal": "that takes no model: forecast the value a season ago; the SDK's Forecaster does so beside "
    "any bundle, wherever that is best",
    "nearest": "no bundle holds that: let each device keep its labelled examples and answer like the nearest",
    "trees": "no bundle holds that: grow trees on the rows of all devices, such as scikit-learn's "
    "HistGradientBoosting, and run them beside your application",
    "linear": "no bundle holds that: fit a ridge or logistic regression to the rows of all devices, and run "
    "it beside your application",
    # Of anomalies; elsewhere a recipe makes it.
    "device_only": "no bundle holds that: gather each device's own normal windows and fit them alone",
}


@dataclass(frozen=True)
class Advice:
    """What to do after a verdict.

    Attributes:
        command: to copy; None where no bundle holds what is best.
        why: what it does, or what to do without one.
    """

    command: str | None
    why: str


def advice_on(
    verdict: Verdict,
    recipe: Recipe,
    version: str,
    *,
    source: str | None = None,
    changes: Sequence[str] = (),
    anomalies: bool = False,
) -> Advice | None:
    """What to do after the verdict on a version; None where there is nothing but to record more.

    Args:
        recipe: that it was trained by.
        version: `NAME@NUMBER`.
        source: the recipe as a person names it; None takes what is registered with the version.
        changes: of it, as they were given.
        anomalies: whether the data are of that kind.
    """
    from acclimate.workflow.candidates import SHIPPABLE, changes_for

    tracking = repeated(["tracking_uri"])
    exported = f"acclimate export {version} -o bundle{tracking}"
    fetch, named = "", word(source)
    if source is None:
        named = f"{version.replace('@', '-')}.yaml"
        fetch = f"acclimate recipes {version}{tracking} > {named} && "
    if verdict.ship == "start":
        return Advice(exported, "make it what devices receive")
    if verdict.few:
        every = "let every device of the fleet judge, each held out once"
        return Advice(f"{fetch}acclimate compare {named}{_set(changes)}", every)
    if verdict.ship == "record-more" or verdict.against is None:
        return None
    if verdict.against == "meta" or (anomalies and verdict.against == "joint"):
        return Advice(exported, "and give devices nothing to learn from: they stay as it is")
    if verdict.against in SHIPPABLE and not anomalies:
        options = _set([*changes, *changes_for(recipe, verdict.against)]) + tracking
        command = f"{fetch}acclimate train {named}{options}"
        return Advice(command, "train that instead, to a version with its figures")
    return Advice(None, _NO_BUNDLE[verdict.against])


def say_advice(advice: Advice | None) -> None:
    """Print it, for a person."""
    if advice is None:
        return
    if advice.command is None:
        say(advice.why)
    else:
        next_step(advice.command, advice.why)


def say_without_bundle(rival: Start) -> None:
    """What to do about a rival that is better and has no bundle."""
    say(_NO_BUNDLE[rival])


def _set(changes: Sequence[str]) -> str:
    return "".join(f" --set {shlex.quote(change)}" for change in changes)
