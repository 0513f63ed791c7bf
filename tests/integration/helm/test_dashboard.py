"""The dashboard's panels, asked of a real Prometheus that scraped the service's metrics and Ray's."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import ray
from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily

from acclimate.rollout.api import metrics
from acclimate.rollout.domain.evidence import Decision, GateEvidence, Observation, Verdict
from acclimate.rollout.domain.rollout import OpenWave, State
from acclimate.rollout.store import Counts
from acclimate.training.loop import OuterState, train
from acclimate.training.problem import open_problem
from acclimate.training.ray_pool import RayPool
from acclimate.workflow import phases
from tests.integration.helm.conftest import status
from tests.integration.training.test_same_bits import PHASE, RECIPE
from tests.support.ports import free_port
from tests.support.rollout_samples import a_rollout
from tests.unit.helm.test_dashboards import DASHBOARDS, panels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus"),
]


def asked(port: int, query: str) -> list[dict]:
    form = urllib.parse.urlencode({"query": query.replace("$__rate_interval", "10s").replace("$fleet", ".*")})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{form}", timeout=10) as reply:
        return json.load(reply)["data"]["result"]


class GrowingFleet:
    """The service's own metric families, over figures that grow with time as a fleet's do."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def collect(self):
        elapsed = time.monotonic() - self.began
        rollout = replace(a_rollout(), state=State.RUNNING, opened=(OpenWave(0.1, 0.1, 1.0, 1),))
        release = rollout.plan.release
        amounts: dict[str, float] = dict.fromkeys(("reports", "predictions"), int(100 * elapsed))
        amounts |= {"examples": int(100 * elapsed), "loss_sum": 50 * elapsed}
        amounts |= {"adapted_examples": int(80 * elapsed), "adapted_loss_sum": 20 * elapsed}
        amounts |= {"adaptations": int(80 * elapsed), "kept_starts": int(20 * elapsed)}
        amounts |= {
            "drifts": int(10 * elapsed),
            "fallbacks": int(5 * elapsed),
            "alarms": int(2 * elapsed),
            "refusals": 0,
        }
        counts = Counts(fleet=rollout.plan.fleet, release=release, hour=0.0, **amounts)
        known = {"order": 1, "adapted": True, "examples": 1, "content_hash": release.content_hash}
        observed = [
            Observation(f"{arm}-{n}", arm, 1, 1.0, 1, loss_sum=loss, **known)
            for arm, loss in (("canary", 0.4), ("control", 0.5))
            for n in range(3)
        ]
        gate = GateEvidence(
            "loss", Verdict.INCONCLUSIVE, "", 0.05, 3, 3, 0.4, 0.5, difference=-0.1, lower=-0.3, upper=0.1
        )
        decision = Decision(rollout.id, 1.0, "wait", "", "controller", 1, evidence=(gate,))
        devices = GaugeMetricFamily("acclimate_devices", "devices enrolled", labels=["fleet"])
        devices.add_metric([rollout.plan.fleet], 50)
        yield devices
        yield from metrics.release_metrics([counts])
        yield from metrics.rollout_metrics([(rollout, observed, decision)])


@contextmanager
def training() -> Iterator[int]:
    """A Ray worker that trains all the while; the port of its node's metrics, as KubeRay's pods have one."""
    port, stop = free_port(), threading.Event()
    quick = {"metrics_report_interval_ms": 500}
    ray.init(
        "local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        _metrics_export_port=port,
        _system_config=quick,
    )
    endless = RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"steps": 10**6})})
    with RayPool(phases(open_problem(RECIPE)), 1) as pool:

        def train_on() -> None:
            state = OuterState.begin(open_problem(endless).start(), endless.training.optimizer)
            train(
                endless,
                state,
                partial(pool.compute, PHASE),
                on_step=lambda report: stop.wait(0.05),
                on_checkpoint=lambda state: None,
                should_stop=stop.is_set,
            )

        thread = threading.Thread(target=train_on)
        thread.start()
        try:
            yield port
        finally:
            stop.set()
            thread.join()
    ray.shutdown()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus that has scraped the service's and Ray's metrics for ten seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    with training() as ray_port:
        yield from scraping(folder, ray_port)


def scraping(folder: Path, ray_port: int) -> Iterator[int]:
    service = metrics.ServiceMetrics()
    service.registry.register(GrowingFleet())
    target, stop, _ = start_exporter(service.registry)
    port = free_port()
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
            for name, scraped in (("rollout", target), ("ray", ray_port))
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 180
        enough = " and ".join(
            [
                "min(count_over_time(acclimate_drifts_total[30s])) >= 8",
                "count(ray_node_mem_used) > 0",
                'min(count_over_time(ray_tasks{State="FINISHED", Name=~"RayWorker.compute"}[30s])) >= 8',
            ]
        )
        while status(f"http://127.0.0.1:{port}/-/ready") != 200 or not asked(port, enough):
            service.polls.labels("home", "unchanged").inc()
            service.requests.labels("operator", "GET", "200").inc()
            service.request_seconds.labels("operator").observe(0.01)
            service.commit_seconds.observe(0.01)
            service.background_failures.labels("controller").inc()
            assert time.monotonic() < end
            time.sleep(0.3)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)
        stop.shutdown()


def start_exporter(registry):
    port = free_port()
    server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    return port, server, thread


def test_every_panel_has_something_to_show(prometheus):
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                if "FAILED" not in target["expr"]:  # no shard fails here
                    assert asked(prometheus, target["expr"]), f"{panel['title']}: {target['expr']}"


def test_panels_show_what_the_fleet_did(prometheus):
    shown = {
        panel["title"]: [float(row["value"][1]) for row in asked(prometheus, panel["targets"][0]["expr"])]
        for dashboard in DASHBOARDS.values()
        for panel in panels(dashboard)
    }
    assert shown["Devices"] == [50.0]
    assert shown["Adaptation pays"][0] == pytest.approx(0.8, abs=0.05)
    assert shown["Loss, with and without adaptation"][0] == pytest.approx(0.5, rel=0.1)
    assert sorted(shown["Loss after adaptation, canary against control"]) == pytest.approx([0.4, 0.5])
    assert shown["Canary minus control, with its confidence band"] == pytest.approx([0.1])
    assert 0 < shown["Training throughput"][0] < 1_000
    assert 0 < shown["Ray nodes' CPU and memory"][0] <= 1
    # A rate over seconds on a busy machine: of the right size is all that can be asked.
    assert shown["Drifts a device and day"][0] == pytest.approx(86400 * 10 / 50, rel=0.5)
