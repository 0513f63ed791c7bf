"""A gateway: an agent and an application on one flash, with a service and versions of the tiny bundle."""

import random
from dataclasses import replace
from pathlib import Path

from acclimate_device import Device
from acclimate_device.agent import Agent
from acclimate_device.protocol import MANIFEST, Manifest, Release, dumps, loads
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService


def manifest_of(files: dict[str, bytes]) -> Manifest:
    return loads(Manifest, files[MANIFEST], 10**6)


def version(number: int, kind: str = "gradient") -> dict[str, bytes]:
    """The tiny bundle under another version number."""
    files = tiny_bundle(kind)
    manifest = manifest_of(files)
    release = replace(manifest.release, version=number, content_hash=f"{number:064x}")
    return {**files, MANIFEST: dumps(replace(manifest, release=release))}


def release_of(number: int) -> Release:
    return manifest_of(version(number)).release


class Gateway:
    """An agent and an application on one flash, with their service."""

    def __init__(self, tmp_path: Path, **options: object) -> None:
        self.now = 1_790_000_000.0
        self.repository = SimulatedRepository()
        self.service = SimulatedService(self.repository, clock=lambda: self.now)
        self.flash = SimulatedFlash()
        self.agent = Agent(
            self.service,
            self.flash,
            self.repository.root,
            tmp_path / "tuf",
            clock=lambda: self.now,
            rng=random.Random(0),
            **options,
        )
        self.agent.service.enrol(self.service.token, "serial 7", {"region": "north"}, "")
        self.device = self.application()

    def application(self) -> Device:
        return Device(tiny_bundle().get, self.flash, clock=lambda: self.now)

    def ship(self, number: int, action: str = "run") -> None:
        if not any(f"/{number}/" in path for path in self.repository.files):
            self.repository.publish(version(number))
        self.service.assign(action, release_of(number))

    def use(self, predictions: int = 25) -> None:
        for x, _ in GestureDevice(1).examples(predictions):
            self.device.predict_one(x)
        self.device.tick()
