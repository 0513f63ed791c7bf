"""What to do after a verdict, in commands; and where no bundle holds what is best, in a plain sentence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from acclimate.cli.output import next_step, out

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
    # Of anomalies; elsewhere a recipe makes it.
    "device_only": "no bundle holds that: gather each device's own normal windows and fit them alone",
}


def advise(
    verdict: Verdict,
    recipe: Recipe,
    version: str,
    *,
    source: str,
    changes: Sequence[str] = (),
    anomalies: bool = False,
) -> None:
    """Print what to do after the verdict on a version.

    Args:
        recipe: that it was trained by.
        version: `NAME@NUMBER`.
        source: the recipe as a person names it.
        changes: of it, as they were given.
        anomalies: whether the data are of that kind.
    """
    from acclimate.workflow.candidates import SHIPPABLE, changes_for

    exported = f"acclimate export {version} -o bundle"
    if verdict.ship == "start":
        _next(exported, "make it what devices receive")
    elif verdict.few:
        every = "let every device of the fleet judge, each held out once"
        _next(f"acclimate compare {source}{_set(changes)}", every)
    elif verdict.ship == "record-more" or verdict.against is None:
        return
    elif verdict.against == "meta" or (anomalies and verdict.against == "joint"):
        _next(exported, "and give devices nothing to learn from: they stay as it is")
    elif verdict.against in SHIPPABLE and not anomalies:
        command = f"acclimate train {source}{_set([*changes, *changes_for(recipe, verdict.against)])}"
        _next(command, "train that instead, to a version with its figures")
    else:
        say_without_bundle(verdict.against)


def say_without_bundle(rival: Start) -> None:
    """What to do about a rival that is better and has no bundle."""
    out.print(_NO_BUNDLE[rival], markup=False, highlight=False, soft_wrap=True)


def _next(command: str, why: str) -> None:
    next_step(command, why, ["tracking_uri"])


def _set(changes: Sequence[str]) -> str:
    return "".join(f" --set {shlex.quote(change)}" for change in changes)
