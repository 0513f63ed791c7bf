"""The few routes of Kubeflow Pipelines' API that runs and schedules use, kept in memory, over real HTTP.

Kubeflow's own server needs a cluster; its client is the real one in every test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.answering import Asked, answering

TOKEN = "kfp-token"


class StubKubeflow:
    """What the server holds; `states` are those a run goes through, one for each look at it."""

    def __init__(self, states: tuple[str, ...] = ("PENDING", "RUNNING", "SUCCEEDED")) -> None:
        self.states = states
        self.url = ""
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.schedules: list[dict[str, Any]] = []
        self.looks = 0

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        kind, _, rest = path.removeprefix("/apis/v2beta1/").partition("/")
        if kind == "healthz":
            return 200, {"multi_user": False}
        if kind == "experiments":
            return self._experiments(method, query, body)
        if kind == "runs":
            return self._runs(method, rest, body)
        if kind == "recurringruns":
            return self._schedules(method, rest, body)
        return 404, {"message": f"no route {path}"}

    def _experiments(self, method: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method == "POST":
            made = {**body, "experiment_id": f"e-{len(self.experiments)}"}
            self.experiments.append(made)
            return 200, made
        wanted = json.loads(query["filter"][0])["predicates"][0]["stringValue"]
        return 200, {"experiments": [one for one in self.experiments if one["display_name"] == wanted]}

    def _runs(self, method: str, rest: str, body: Any) -> tuple[int, Any]:
        if method == "POST" and rest.endswith(":terminate"):
            self._find(self.runs, "run_id", rest.removesuffix(":terminate"))["state"] = "CANCELED"
            return 200, {}
        if method == "POST":
            made = {**body, "run_id": f"r-{len(self.runs)}", "state": self.states[0]}
            self.runs.append(made)
            return 200, made
        if not rest:
            return 200, {"runs": self.runs}
        found = self._find(self.runs, "run_id", rest)
        if not found:
            return 404, {"message": f"Run {rest} not found"}
        if found["state"] != "CANCELED":
            found["state"] = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        if found["state"] == "FAILED":
            found["error"] = {"code": 2, "message": "step meta-train failed"}
        return 200, found

    def _schedules(self, method: str, rest: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            made = {**body, "recurring_run_id": f"s-{len(self.schedules)}", "status": "ENABLED"}
            self.schedules.append(made)
            return 200, made
        if method == "DELETE":
            self.schedules = [one for one in self.schedules if one["recurring_run_id"] != rest]
            return 200, {}
        return 200, {"recurringRuns": self.schedules, "recurring_runs": self.schedules}

    def _find(self, among: list[dict[str, Any]], key: str, value: str) -> dict[str, Any]:
        return next((one for one in among if one[key] == value), {})


@contextmanager
def serving(stub: StubKubeflow) -> Iterator[StubKubeflow]:
    """Serve `stub` on a free port of this machine."""

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(asked.path)
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, told = 401, {"message": "Request not authenticated"}
        else:
            body = json.loads(asked.body) if asked.body else None
            status, told = stub.answer(asked.command, url.path, parse_qs(url.query), body)
        return status, {"Content-Type": "application/json"}, json.dumps(told).encode()

    with answering(answer) as port:
        stub.url = f"http://127.0.0.1:{port}"
        yield stub
