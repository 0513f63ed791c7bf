"""What a person sees of a step in Kubeflow's pages: Markdown and one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from acclimate.evaluation import Evaluation, comparison_sentence, headline, judge, table, worst_sentence


def data_report(name: str, document: Mapping[str, Any]) -> str:
    """A data report as Markdown."""
    lines = [f"# Data of {name}", ""]
    if "generated" in document:
        return "\n".join([*lines, f"Generated: `{document['generated']}`", ""])
    examples = document["examples"].values()
    lines += [
        f"{document['rows']:,} rows, {document['tasks']} tasks of {document['groups']} owners, "
        f"{sum(examples):,} examples ({min(examples)} to {max(examples)} a task)",
        "",
    ]
    if document["findings"]:
        lines += ["| severity | what | remedy |", "| --- | --- | --- |"]
        lines += [f"| {one['severity']} | {one['what']} | {one['remedy']} |" for one in document["findings"]]
    else:
        lines.append("No defect found.")
    return "\n".join([*lines, ""])


def evaluation(name: str, found: Evaluation, picture: bytes) -> str:
    """An evaluation as HTML: the picture, the sentences and the table for every number of shots."""
    shots = max(found.shots)
    said = [judge(found).sentence, headline(found, shots)]
    said += [comparison_sentence(found, one) for one in found.comparisons if one.shots == shots]
    said.append(worst_sentence(found, shots))
    image = base64.b64encode(picture).decode()
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{escape(name)}</title><body style='font-family:sans-serif;max-width:60rem'>",
        f"<h1>{escape(name)}: adaptation on held-out tasks</h1>",
        f"<p><b>{escape(said[0])}</b></p>",
        f"<img alt='adaptation curves' style='max-width:100%' src='data:image/png;base64,{image}'>",
        *(f"<p>{escape(sentence)}</p>" for sentence in said[1:]),
        *(_table(f"{found.metric}, {each}-shot, after n steps", *table(found, each)) for each in found.shots),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<h2>{escape(title)}</h2><table border='1' cellpadding='4'><tr>{head}</tr>{body}</table>"
