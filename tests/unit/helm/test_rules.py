"""The alert and recording rules, judged by Prometheus' own promtool."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.unit.helm.rendering import CHART, PRODUCTION, ROOT
from tests.unit.helm.test_dashboards import metric_names

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


def alerts():
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_is_seen_to_fire():
    fired = set()
    for path in UNIT_TESTS.glob("*.yaml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            fired |= {one["alertname"] for one in case["alert_rule_test"] if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in alerts()}


def test_every_metric_that_a_rule_asks_for_exists():
    text = "".join(path.read_text() for path in RULES)
    recorded = set(re.findall(r"record: \S*?:(acclimate_\w+)", text))
    asked = set(re.findall(r"\b(acclimate_\w+?)(?=[\[{)\s])", text)) - recorded
    assert len(asked) > 10
    assert asked <= metric_names()


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    assert alerts()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]
