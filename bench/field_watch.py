"""The watch by person: the table and picture of `bench.watch_people`'s figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from acclimate.evaluation.contenders import LABELS, Start
from acclimate.evaluation.plot import COLOURS, MARKERS, STYLE
from acclimate.evaluation.statistics import interval

PAGE = "wearables"


def run(people: Path | None, picture: Path) -> dict[str, Any]:
    """Take the figures over, by person."""
    if people is None:
        raise SystemExit("`watch` needs --people: the JSON of `python -m bench.watch_people --out`")
    figures: dict[str, Any] = json.loads(people.read_text("utf-8"))
    _plot(figures["people"], picture)
    return {**figures, "seeds": 1}


def table(result: dict[str, Any], _: Callable[..., str]) -> str:
    people = result["people"]
    lines = [
        f"accuracy (%) of {len(people)} people, each held out once, both arms averaged, 5 shots a class:",
        "",
        "| | mean | 95 % interval over people | worst person |",
        "| --- | --: | :-: | --: |",
    ]
    columns = {start: 100 * np.array([one[start] for one in people.values()]) for start in _starts(people)}
    names = list(people)
    for start, values in columns.items():
        low, high = interval(values)
        worst = names[int(values.argmin())]
        label = "**meta-learned start, adapted**" if start == "meta" else LABELS[start]
        lines.append(
            f"| {label} | {values.mean():.1f} | {low:.1f} to {high:.1f} | {values.min():.1f} ({worst}) |"
        )
    lines.append("")
    for start, values in columns.items():
        if start != "meta":
            gain = columns["meta"] - values
            low, high = interval(gain)
            lines.append(
                f"- Meta-learned start against {LABELS[start]}: {gain.mean():+.1f} points (95 % interval "
                f"{low:+.1f} to {high:+.1f}), at least as good for {int((gain >= 0).sum())} of {len(gain)}."
            )
    return "\n".join(lines)


def _starts(people: dict[str, dict[str, float]]) -> list[Start]:
    present = next(iter(people.values()))
    return [start for start in LABELS if start in present]


def _plot(people: dict[str, dict[str, float]], picture: Path) -> None:
    """Every person in every start, sorted by what adapting from the meta-learned start reaches."""
    order = sorted(people, key=lambda person: people[person]["meta"])
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9, 4.6), layout="constrained")
        for start in _starts(people):
            axis.plot(
                [100 * people[person][start] for person in order],
                MARKERS[start],
                color=COLOURS[start],
                markersize=9 if start == "meta" else 7,
                label=LABELS[start],
            )
        axis.set_xticks(range(len(order)), order, rotation=30, ha="right")
        axis.set_ylabel("accuracy, %")
        axis.set_title("watch: every person held out once")
        axis.legend(frameon=False, ncols=2)
        figure.savefig(picture, dpi=150)
        plt.close(figure)
