"""Where the demo plays: one fresh folder with the registry, the signed repository, the keys and the service.

All of it is what an installation has: MLflow's store, TUF metadata signed by keys on this machine, and
`acclimate serve` in a process of its own, which starts `acclimate train` when the fleet drifts.
"""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from acclimate.bundle.export import write_bundle
from acclimate.bundle.registered import bundle_of
from acclimate.bundle.repository import KEYS, create, create_key, load_keys, publish
from acclimate.demo.people import RECORDINGS, STRANGERS
from acclimate.demo.size import Size
from acclimate.files import sqlite_url
from acclimate.registry import Registry
from acclimate.simulation import ServiceProcess
from acclimate.training.recipe import Recipe
from acclimate.training.recipe_file import load_recipe, to_yaml
from acclimate_device.protocol import Release

FLEET = "watches"
WINDOW_S = 600.0
"""How far back the service looks for drift: longer than the demo lasts."""
DRIFT_SHARE = 0.4


class Stage:
    """The folder of one demo; `ACCLIMATE_HOME` must name it.

    Attributes:
        recordings: folder of Parquet files that the recipe trains on.
        recipe: the shipped `watch` on these recordings, shortened to the demo's size.
    """

    def __init__(self, home: Path, size: Size) -> None:
        self.home, self.size = home, size
        self.recordings = home / "recordings"
        self.recipe = _recipe(self.recordings, size)
        self.recipe_file = home / "watch.yaml"
        self.recipe_file.write_text(to_yaml(self.recipe), "utf-8")
        self.registry = Registry.open(sqlite_url(home / "mlflow.db"))
        self._keys, self._tuf = home / "keys", home / "tuf"

    def sign(self, reference: str) -> tuple[Release, dict[str, bytes]]:
        """Export a registered version as a bundle, sign it and publish it; its files.

        Raises:
            BundleError: the exported step does not do what training did, or it cannot be signed.
        """
        bundle = bundle_of(self.registry, reference)
        folder = self.home / "bundles" / str(bundle.manifest.release.version)
        write_bundle(bundle.files, folder)
        now = datetime.now(UTC)
        if not self._tuf.exists():
            create(self._tuf, {key: [create_key(self._keys / f"{key}.pem", None)] for key in KEYS}, now)
        publish(self._tuf, folder, load_keys([self._keys], None), now)
        return bundle.manifest.release, dict(bundle.files)

    @property
    def root(self) -> bytes:
        """The root of trust that devices are shipped with."""
        return (self._tuf / "metadata" / "1.root.json").read_bytes()

    def service(self) -> ServiceProcess:
        """The rollout service, not started yet; its own rule retrains when enough of the fleet drifts."""
        devices = self.size.devices
        return ServiceProcess(
            self.home,
            REGISTRY_URI=self.registry.location.tracking_uri,
            TICK_S="0.3",
            DEVICE_RATE="0",  # all devices share this machine's address
            ANONYMOUS_RATE="0",
            OPERATOR_RATE="0",
            RETRAIN_COMMAND=self._training_command(),
            RETRAIN_DRIFT_SHARE=f"{DRIFT_SHARE}",
            RETRAIN_MIN_DEVICES=f"{devices // 2}",
            RETRAIN_WINDOW_S=f"{WINDOW_S:g}",
            RETRAIN_COOLDOWN_S=f"{WINDOW_S:g}",
        )

    def _training_command(self) -> str:
        train = [sys.executable, "-m", "acclimate", "train", str(self.recipe_file)]
        changes = ["--workers", "0", "--set", f"training.steps={self.size.more_steps}"]
        changes += ["--set", "baseline.joint=false"]  # it was measured once already
        go_on = "--set training.start={version} --if-new {version}"
        return f"{shlex.join(train + changes)} {go_on} --json {{lineage}}"


def _recipe(recordings: Path, size: Size) -> Recipe:
    changes = {
        "training.steps": size.steps,
        "training.workers": size.workers,
        "evaluation.shots": [5],
        "evaluation.draws": size.draws,
        "evaluation.long_steps": 10,
        "evaluation.rates": [0.003, 0.01, 0.03, 0.1],
    }
    shipped = load_recipe("watch", [f"{key}={json.dumps(value)}" for key, value in changes.items()])
    data = shipped.data.model_copy(
        update={
            "source": str(recordings),
            "recordings": {
                key: list(one) if isinstance(one, tuple) else one for key, one in RECORDINGS.items()
            },
            "test_groups": STRANGERS,
        }
    )
    return shipped.model_copy(update={"data": data})
