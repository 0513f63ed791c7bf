"""A campaign's result becomes a version in a real MLflow store, with what it came of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from acclimate.bundle.step import StepSignature
from acclimate.errors import RegistryError
from acclimate.registry import Registry
from acclimate.workflow.campaigns import asked_of, register_campaign
from tests.support.registered import register

pytestmark = pytest.mark.slow


def test_a_start_goes_the_mean_way_of_its_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    version = register()
    known, _ = Registry.open().fetch("watch", "1")
    shape = asked_of(known)
    assert shape == {"parameters": 6 * 8 + 8 + 8 * 3 + 3}
    way = np.random.default_rng(0).normal(size=shape["parameters"])
    campaign: dict[str, Any] = {
        "id": "campaign-1",
        "name": "watch",
        "version": 1,
        "content_hash": version.content_hash,
        "accepted": 12,
        "aggregator": "mean",
        "secure": True,
        "noise": 2.0,
        "delta": 1e-5,
    }
    made = register_campaign(campaign, way.astype("<f8").tobytes(), tau=10.0, ridge=0.003, rate=0.5)
    assert made.version == 2
    moved, _ = Registry.open().fetch("watch", "2")
    at = 0
    for name in StepSignature.of(known).trainable:
        old = known.params[name]
        part = torch.from_numpy(way[at : at + old.numel()]).reshape(old.shape)
        torch.testing.assert_close(moved.params[name], (old - 0.5 * part).float(), rtol=0, atol=1e-6)
        at += old.numel()
    assert at == len(way)
    with pytest.raises(RegistryError, match="of another watch version 1"):
        register_campaign(campaign, way[:-1].astype("<f8").tobytes(), 10.0, 0.003, 0.5)
    with pytest.raises(RegistryError, match="of another watch version 1"):
        register_campaign(campaign | {"content_hash": "0" * 64}, way.tobytes(), 10.0, 0.003, 0.5)
