"""The alert and recording rules, judged by Prometheus' own promtool."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from tests.unit.helm.rendering import CHART, PRODUCTION, ROOT

RULES = sorted((CHART / "files" / "rules").glob("*.yaml"))
UNIT_TESTS = ROOT / "tests" / "unit" / "helm" / "alerts"

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with Debian's prometheus"
)


@promtool
def test_promtool_finds_no_fault_in_the_rules():
    assert RULES
    checked = subprocess.run(["promtool", "check", "rules", *RULES], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@promtool
def test_alerts_fire_when_they_should_and_only_then():
    cases = sorted(UNIT_TESTS.glob("*.yaml"))
    assert cases
    tested = subprocess.run(
        ["promtool", "test", "rules", *cases], capture_output=True, text=True, cwd=UNIT_TESTS
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@promtool
def test_what_the_chart_installs_is_what_promtool_checked(render, tmp_path):
    installed = render(PRODUCTION)["PrometheusRule/acclimate"]["spec"]
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    assert installed["groups"] == groups
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(installed))
    checked = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    alerts = [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert alerts
    for rule in alerts:
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]
