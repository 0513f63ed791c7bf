"""The table of docs/explanation/transfer-learning.md: what `fields` measured, in one place."""

from __future__ import annotations

import json
from pathlib import Path

from acclimate.evaluation import Evaluation


def table(results: Path) -> str:
    """Markdown: a row for each recipe and number of shots whose result is in the folder."""
    lines = [
        "| recipe | devices | shots | metric | joint + fine-tuning | meta-learned | gain (95 % interval) |",
        "| --- | --: | --: | --- | --: | --: | :-: |",
    ]
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        if "evaluation" in result:
            lines += _rows(path.stem, Evaluation.from_json(result["evaluation"]), result.get("scale", 1.0))
    return "\n".join(lines)


def _rows(name: str, evaluation: Evaluation, unit: float) -> list[str]:
    accuracy = evaluation.metric == "accuracy"
    scale, digits = (100.0, 1) if accuracy else (unit, 2 if unit > 10 else 4)
    metric = "accuracy, %" if accuracy else evaluation.metric
    rows = []
    for one in evaluation.comparisons:
        if one.against != "joint_finetuned":
            continue
        joint, meta = (evaluation.curve(start, one.shots).judged.mean for start in (one.against, "meta"))
        gain, low, high = (f"{scale * value:+.{digits}f}" for value in (one.gain, one.low, one.high))
        decided = "**" if one.low > 0 or one.high < 0 else ""
        means = f"{scale * joint:.{digits}f} | {scale * meta:.{digits}f}"
        row = f"| `{name}` | {len(evaluation.tasks)} | {one.shots} | {metric} | {means} "
        rows.append(f"{row}| {decided}{gain}{decided} ({low} to {high}) |")
    return rows
