"""The tables and pictures of docs/fields: `python -m bench.fields [NAME ...] [--pages-only]`.

Trains each shipped recipe of the three fields with several seeds on the real data under `ACCLIMATE_DATA_DIR`
(about ten processor minutes in all), writes docs/fields/results/NAME.json and docs/images/field-NAME.png, and
puts the table into the page between its markers, and one of all into docs/explanation/transfer-learning.md.
`--pages-only` renders the pages again from the JSON.

`air` ends on the device instead, as a stream on which adaptation must fall back (`field_air`). `watch` takes
the figures of `watch_people` with `--people`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from acclimate.evaluation import LABELS, Evaluation, comparison_sentence
from acclimate.evaluation.contenders import Start
from acclimate.evaluation.plot import save_plot
from acclimate.evaluation.statistics import Summary
from acclimate.tasks import Episodes
from acclimate.training.problem import Problem
from acclimate.training.recipe_file import load_recipe
from bench import field_air, field_transfer, field_watch
from bench.field_runs import Trained, data_directory, train

DOCS = Path("docs")
RESULTS = DOCS / "fields" / "results"


@dataclass(frozen=True)
class Field:
    """A recipe with a table of its own.

    Attributes:
        page: in docs/fields.
        published: what the data set's own README reports for simple methods, as rows of (method, figure).
        unit: of the targets, for errors.
    """

    page: str
    published: tuple[tuple[str, str], ...]
    unit: str = ""


FIELDS = {
    "wisdm": Field(
        "wearables",
        (
            ("global MLP", "64.5 %, worst person 18 %"),
            ("global MLP, head fine-tuned on 5 shots", "85.2 %"),
            ("device only, 5 shots, trained to the end", "84.0 %"),
        ),
    ),
    "gas-drift": Field(
        "industrial",
        (
            ("MLP of batches 1 to 3", "75.9 %"),
            ("the same, fine-tuned on 5 shots", "87.9 %"),
            ("device only, 5 shots, trained to the end", "79.9 %"),
        ),
    ),
    "parking": Field(
        "smart-city",
        (
            ("global model", "0.177, worst car park 0.317"),
            ("ridge regression adapted on 7 days", "0.094"),
            ("small MLP, 3 days, 50 steps: Reptile / joint / scratch", "0.102 / 0.118 / 0.132"),
        ),
        unit="occupancy rate, 0 to 1",
    ),
    "parking-forecast": Field(
        "smart-city",
        (("two hours ahead only: persistence / global / adapted / local", "0.114 / 0.051 / 0.044 / 0.057"),),
        unit="occupancy rate, 0 to 1",
    ),
}
SPECIAL: dict[str, Any] = {"air": field_air, "watch": field_watch}


def main() -> None:
    arguments = _arguments()
    for name in arguments.names:
        path = RESULTS / f"{name}.json"
        if not arguments.pages_only:
            began = time.process_time()
            result = _run(name, arguments)
            result = {"cpu_s": round(time.process_time() - began, 1), "machine": machine(), **result}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result, indent=1) + "\n")
        result = json.loads(path.read_text("utf-8"))
        page, text = _rendered(name, result)
        insert(DOCS / "fields" / f"{page}.md", name, text)
        print(f"\n{name}\n{text}\npage: {DOCS / 'fields' / f'{page}.md'}", flush=True)
    insert(DOCS / "explanation" / "transfer-learning.md", "transfer", field_transfer.table(RESULTS))


def _run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    picture = DOCS / "images" / f"field-{name}.png"
    if name == "watch":
        return field_watch.run(arguments.people, picture)
    data = data_directory()
    with tempfile.TemporaryDirectory() as home:
        os.environ["ACCLIMATE_HOME"] = home
        if name == "air":
            return field_air.run(data, arguments.seeds, picture)
        recipe = load_recipe(name, [f"evaluation.seeds={arguments.seeds}"])
        trained = train(recipe)
        save_plot(trained.evaluation, name, picture)
        return {
            **curves(trained),
            "scale": target_scale(trained.problem),
            "trivial": _trivial(trained.problem),
        }


def curves(trained: Trained) -> dict[str, Any]:
    """The evaluation of all seeds, and the judged means of each seed alone."""
    alone = [evaluation.figures() for evaluation in trained.by_seed()]
    return {"evaluation": trained.evaluation.as_json(), "by_seed": alone, "seeds": len(alone)}


def table(result: dict[str, Any], published: tuple[tuple[str, str], ...], unit: str) -> str:
    """The result as Markdown: every start at each number of shots, then what others reach."""
    evaluation = Evaluation.from_json(result["evaluation"])
    parts = [_table_at(evaluation, shots, result, unit) for shots in evaluation.shots]
    others = [f"| _its README: {label}_ | _{figure}_ | | | |" for label, figure in published]
    *few, (most, sentences) = parts
    blocks = [block for pair in few for block in pair]
    return "\n\n".join([*blocks, "\n".join([most, *others]), sentences])


def _table_at(evaluation: Evaluation, shots: int, result: dict[str, Any], unit: str) -> tuple[str, str]:
    """The table at one number of shots, and the comparisons below it."""
    accuracy = evaluation.metric == "accuracy"
    scale = 100.0 if accuracy else result["scale"]
    highest = 1.0 if accuracy else float("inf")  # Student's t knows no bounds

    def number(value: float) -> str:
        return f"{scale * value:.{1 if accuracy else 3}f}"

    of_each = " of each class" if accuracy else ""
    lines = [
        f"{evaluation.metric} ({'%' if accuracy else unit}) on {len(evaluation.tasks)} held-out tasks, "
        f"{shots} support example{'' if shots == 1 else 's'}{of_each}:",
        "",
        "| | mean | 95 % interval over tasks | each seed | worst task |",
        "| --- | --: | :-: | :-: | --: |",
    ]
    for label, summary, seeds in _rows(evaluation, shots, result["by_seed"]):
        interval = f"{number(summary.low)} to {number(min(summary.high, highest))}"
        lines.append(
            f"| {label} | {number(summary.mean)} | {interval} | {', '.join(map(number, seeds))} | "
            f"{number(summary.worst)} ({summary.worst_task}) |"
        )
    trivial = result.get("trivial", {}) if shots == max(evaluation.shots) else {}
    lines += [f"| {label} | {number(value)} | | | |" for label, value in trivial.items()]
    sentences = (f"- Meta-learned start {sentence}." for sentence in _sentences(evaluation, shots, scale))
    return "\n".join(lines), "\n".join(sentences)


def _rows(
    evaluation: Evaluation, shots: int, by_seed: list[dict[str, float]]
) -> Iterator[tuple[str, Summary, list[float]]]:
    """Label, figures over tasks, and the mean of each seed alone."""
    meta = evaluation.curve("meta", shots)
    yield "start, not adapted", meta.points[meta.steps.index(0)], []
    for start in evaluation.starts:
        curve = evaluation.curve(start, shots)
        key = f"{evaluation.metric}.{start}.{shots}_shot"
        solved = len(curve.steps) < 3  # a head in closed form has no steps: it is solved or it is not
        steps = 0 if solved else curve.steps[curve.chosen]
        yield _label(start, steps), curve.judged, [one[key] for one in by_seed]


def _label(start: Start, steps: int) -> str:
    taken = f", {steps} steps" if steps else ""
    return f"**meta-learned start, adapted{taken}**" if start == "meta" else f"{LABELS[start]}{taken}"


def _sentences(evaluation: Evaluation, shots: int, scale: float) -> list[str]:
    factor = 1.0 if evaluation.metric == "accuracy" else scale
    return [
        comparison_sentence(
            evaluation,
            replace(one, gain=factor * one.gain, low=factor * one.low, high=factor * one.high),
        )
        for one in evaluation.comparisons
        if one.shots == shots
    ]


def _rendered(name: str, result: dict[str, Any]) -> tuple[str, str]:
    if name in SPECIAL:
        page, text = SPECIAL[name].PAGE, SPECIAL[name].table(result, table)
    else:
        field = FIELDS[name]
        page, text = field.page, table(result, field.published, field.unit)
    return page, f"{text}\n\n{_provenance(name, result)}"


def _provenance(name: str, result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"_Measured {machine['date']}, training seeds: {result['seeds']}; {result['cpu_s']:.0f} processor "
        f"seconds on {machine['cores']} cores shared with other work (load {machine['load']}), torch "
        f"{machine['torch']}. `python -m bench.fields {name}` makes it again; "
        f"[all figures](results/{name}.json)._"
    )


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }


def target_scale(problem: Problem) -> float:
    """Units of the target in one unit of the normalized target; 1 for classes."""
    scale = problem.normalization.target_scale
    return scale[0] if scale else 1.0


def _trivial(problem: Problem) -> dict[str, float]:
    """The error of forecasting no change, where there is a forecast."""
    if problem.data.schema.kind != "forecasting":
        return {}
    sampler = problem.sampler(problem.split.test, max(problem.recipe.evaluation.shots))
    return {"persistence (no change)": persistence(problem, sampler.every_task())}


def persistence(problem: Problem, episodes: Episodes) -> float:
    """Mean absolute error of the last value as forecast of all rows ahead, normalized."""
    schema = problem.data.schema
    columns = [schema.channels.index(target) for target in schema.targets]
    x, y, w = episodes.query
    last = x[..., columns, -1].repeat(1, 1, schema.horizon)
    error = (last - y).abs().mean(-1)
    return float(((error * w).sum(-1) / w.sum(-1)).mean())


def insert(page: Path, name: str, text: str) -> None:
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    content = page.read_text("utf-8")
    if begin not in content:
        raise SystemExit(f"{page} has no place for the table: write {begin} and {end} where it belongs")
    between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    page.write_text(between.sub(lambda _: f"{begin}\n{text}\n{end}", content), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    names = [*FIELDS, *SPECIAL]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--people", type=Path, help="JSON of `bench.watch_people --out`, for `watch`")
    parser.add_argument("--pages-only", action="store_true", help="render the pages again, train nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no field has a recipe {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    everything = [name for name in names if name != "watch" or arguments.people or arguments.pages_only]
    arguments.names = arguments.names or everything
    return arguments


if __name__ == "__main__":
    main()
