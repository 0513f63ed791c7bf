"""Bearing faults across rigs by the product's own job: `python -m bench.bearings [--draws 2]`.

Reads `hit_bearing6` and `uestc_bearing4` under `ACCLIMATE_DATA_DIR`, whose licences forbid shipping them. Of
the first, one rig's three devices are trained on and the other rig's are held out, both ways, six faults; of
the second, each speed is held out once. Takes some minutes of one core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acclimate.training.recipe import Recipe
from bench.field_runs import data_directory, train

HELD_OUT = {
    "hit_bearing6": (("mfs_*",), ("selfbuilt_*",)),
    "uestc_bearing4": (("uestc_800",), ("uestc_1000",), ("uestc_1200",), ("uestc_1400",)),
}
RATES = {"hit_bearing6": 51_200, "uestc_bearing4": 20_000}


def recipe(name: str, table: Path, held_out: tuple[str, ...], draws: int) -> Recipe:
    """Windows of 2048 samples that share no row; support from the first half of each recording."""
    return Recipe.model_validate(
        {
            "name": name.replace("_", "-"),
            "data": {
                "source": str(table),
                "recordings": {
                    "kind": "classification",
                    "task": "device",
                    "recording": "recording",
                    "time": "sample",
                    "label": "label",
                    "channels": ["acc"],
                    "window": 2048,
                    "stride": 2048,
                    "timeline": "label",
                    "sample_rate_hz": RATES[name],
                },
                "test_groups": held_out,
                "validation": 1,
            },
            "episodes": {"shots": 5, "query_shots": 15},
            "model": {"name": "spectral"},
            "learner": {"algorithm": "closed-form"},
            "training": {
                "steps": 60,
                "meta_batch": 2,
                "shard": 2,
                "optimizer": {"lr": 0.003, "final_lr": 0.0},
            },
            "evaluation": {"draws": draws, "long_steps": 10},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=2)
    draws = parser.parse_args().draws
    for name, folds in HELD_OUT.items():
        found: dict[tuple[str, int], list[float]] = {}
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ACCLIMATE_HOME"] = folder
            rows = pq.read_table(data_directory() / name / f"{name}.parquet")
            table = Path(folder) / "rows.parquet"
            pq.write_table(rows.filter(pc.not_equal(pc.cast(rows["label"], "string"), "Normal")), table)
            for held_out in folds:
                evaluation = train(recipe(name, table, held_out, draws)).evaluation
                for curve in evaluation.curves:
                    found.setdefault((curve.start, curve.shots), []).extend(curve.judged.values)
        for (start, shots), values in found.items():
            print(f"{name} {start} {shots}-shot: {np.mean(values):.3f}, worst {np.min(values):.3f}")


if __name__ == "__main__":
    main()
