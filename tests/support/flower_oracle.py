"""What Flower makes of the same updates: its pins exclude ours, so it runs in an environment of its own.

    python -m venv flower && flower/bin/pip install flwr==1.42.0
    flower/bin/python tests/support/flower_oracle.py > tests/support/flower.json

`tests/unit/test_aggregation.py` compares with what it printed.
"""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np

DEVICES, NUMBERS, LIARS, CLIP, NOISE = 10, 6, 2, 1.5, 0.7


def main() -> None:
    from flwr.server.strategy import aggregate as flower
    from flwr.supercore import differential_privacy as private

    rng = np.random.default_rng(19)
    updates = rng.normal(size=(DEVICES, NUMBERS))
    updates[:LIARS] *= -10
    results = [([update], 1) for update in updates]
    short = [[update.copy()] for update in updates]
    for one in short:
        private.clip_inputs_inplace(one, CLIP)
    found = {
        "mean": flower.aggregate(results)[0],
        "median": flower.aggregate_median(results)[0],
        "trimmed-mean": flower.aggregate_trimmed_avg(results, LIARS / DEVICES)[0],
        "multi-krum": flower.aggregate_krum(results, LIARS, DEVICES - LIARS)[0],
        "clipped": np.stack([one[0] for one in short]),
        "deviation": np.array(private.compute_stdv(NOISE, CLIP, DEVICES)),
    }
    told = {name: value.tolist() for name, value in found.items()}
    given = {"liars": LIARS / DEVICES, "clip": CLIP, "noise": NOISE, "updates": updates.tolist()}
    print(json.dumps({"flwr": version("flwr"), **given, "found": told}, indent=1))


if __name__ == "__main__":
    main()
