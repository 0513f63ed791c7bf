"""A process that had a Ray of its own may have another, of whatever kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from acclimate.training.ray_connection import connected

pytestmark = pytest.mark.slow


def test_the_token_of_a_ray_of_our_own_ends_with_it(monkeypatch, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a" * 64)
    with connected(None, 1):
        assert ray.get(ray.remote(lambda: 1).remote()) == 1
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        assert ray.get(ray.remote(lambda: 2).remote()) == 2
    finally:
        ray.shutdown()
