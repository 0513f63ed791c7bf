"""Grafana's dashboards: sound PromQL over metrics that exist, every panel explained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time

import pytest
import yaml

from acclimate.rollout.api import metrics
from acclimate.rollout.api.conditions import conditions
from acclimate.rollout.faults import Faults
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import open_store
from tests.unit.helm.rendering import CHART, EVERYTHING

DASHBOARDS = {
    path.name: json.loads(path.read_text()) for path in (CHART / "files" / "dashboards").glob("*.json")
}
GRAFANA = {"$__rate_interval": "5m", "$fleet": ".*"}


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard) -> list[str]:
    """Every PromQL expression, with Grafana's variables filled in."""
    found = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    found += [note["expr"] for note in dashboard["annotations"]["list"]]
    for variable, value in GRAFANA.items():
        found = [expression.replace(variable, value) for expression in found]
    return found


@pytest.fixture(params=DASHBOARDS)
def dashboard(request):
    return DASHBOARDS[request.param]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's prometheus")
def test_every_query_is_promql(dashboard, tmp_path):
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries(dashboard))]
    assert "$" not in "".join(queries(dashboard))
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "queries.yaml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def metric_names() -> set[str]:
    """The names of all series that the service exposes, as Prometheus stores them."""
    families = [*metrics.ServiceMetrics().registry.collect()]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/rollout.db")
        families += metrics.fleet_metrics(store, Faults())
        families += conditions(store, ServiceSettings(), time.time, Faults())
        store.close()
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def test_every_metric_that_a_panel_asks_for_exists(dashboard):
    asked = {name for query in queries(dashboard) for name in re.findall(r"\bacclimate_\w+", query)}
    assert len(asked) > 10
    assert asked <= metric_names()


def test_every_panel_is_explained_and_none_lies_on_another(dashboard):
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(dashboard):
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_first_screen_shows_adaptation_drift_rollout_and_training(dashboard):
    rows = " ".join(panel["title"].lower() for panel in dashboard["panels"] if panel["type"] == "row")
    for word in ("adaptation", "drift", "control", "training"):
        assert word in rows


def test_the_chart_installs_them_unchanged(render):
    installed = render(EVERYTHING)["ConfigMap/acclimate-dashboards"]
    assert {name: json.loads(text) for name, text in installed["data"].items()} == DASHBOARDS
    assert installed["metadata"]["labels"]["grafana_dashboard"] == "1"
