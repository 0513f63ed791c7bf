"""What is said, and only that, where no Kubeflow can be reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from acclimate.cli.main import cli


def test_without_a_cluster_nothing_but_the_error_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    ended = CliRunner().invoke(cli, ["pipeline", "list", "--json"])
    assert ended.stdout == ""
    assert "Kubeflow at the current Kubernetes context cannot be reached" in str(ended.exception)
