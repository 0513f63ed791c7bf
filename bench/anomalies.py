"""Anomalies of held-out devices by the product's own job: `python -m bench.anomalies [--out TABLE]`.

Every server of `asd_servers12` under `ACCLIMATE_DATA_DIR` is held out once; the others give the prior, its
settings and the threshold. Prints average precision, AUROC and false alarms of each, and their means, for the
fleet's prior with two days of the server's own rows, the fleet alone and the server alone. With `--out` it
writes the table that the recipe takes, and stops.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from acclimate.evaluation import LABELS
from acclimate.training.problem import open_problem
from acclimate.training.recipe_file import load_recipe
from acclimate.workflow.normal import fit_normal
from bench.field_runs import Silent, data_directory

BEFORE = 7200  # rows kept of those taken as normal, the newest: every server has them


def both_splits(source: Path, target: Path) -> None:
    """The rows that the recipe takes: those taken as normal, then the labelled ones, on one clock."""
    rows = pd.read_parquet(source)
    rows["t"] = rows["t"].astype("int64")
    last = rows[rows.split == "train"].groupby("server").t.max()
    kept = rows[(rows.split == "test") | (rows.t > rows.server.map(last) - BEFORE)]
    clock = np.where(kept.split == "test", kept.t + 100_000, kept.t)
    kept.assign(clock=clock).drop(columns="t").to_parquet(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, metavar="TABLE")
    out = parser.parse_args().out
    source = data_directory() / "asd_servers12" / "servers.parquet"
    if out is not None:
        both_splits(source, out)
        return
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ACCLIMATE_HOME"] = folder
        table = Path(folder) / "servers_both.parquet"
        both_splits(source, table)
        servers = sorted(map(str, pd.read_parquet(table, columns=["server"]).server.unique()))
        for server in servers:
            changes = [f"data.source={table}", f'data.test_groups=["{server}"]', "data.validation=0"]
            _, evaluation = fit_normal(
                open_problem(load_recipe("server-anomalies", changes)), Silent().on_evaluation
            )
            for curve in evaluation.curves:
                figures = {"AP": curve.judged.mean, **curve.details}
                for name, value in figures.items():
                    found.setdefault(f"{LABELS[curve.start]}: {name}", []).append(value)
            print(server, {name: round(values[-1], 3) for name, values in found.items()}, flush=True)
    for name, values in found.items():
        print(f"{name}  {np.mean(values):.3f}  (worst {np.min(values):.3f}, {np.max(values):.3f})")


if __name__ == "__main__":
    main()
