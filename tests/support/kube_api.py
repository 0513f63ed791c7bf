"""A small Kubernetes API over real HTTP: RayJobs, the pods that submit them, and their logs.

What a test lets happen to a job (KubeRay's and the kubelet's part) it does through the attributes below.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
TOKEN = "a-service-account-token"
RAYJOBS = "/apis/ray.io/v1/namespaces/training/rayjobs"
PODS = "/api/v1/namespaces/training/pods"


@dataclass
class KubeApi:
    """The state of the cluster.

    Attributes:
        jobs: RayJobs by name.
        pods: by name; a submitter's has the label `job-name`.
        logs: by pod; None at the end closes it, until then a follower waits for more.
        broken_logs: how many followed logs to break off from now on, in their middle.
        requests: method and path of all that came.
    """

    port: int = 0
    jobs: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    logs: dict[str, list[str | None]] = field(default_factory=dict)
    broken_logs: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    knows_rayjobs: bool = True

    def kubeconfig(self, path: Path, token: str = TOKEN) -> Path:
        """A kubeconfig for this cluster."""
        cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "training"}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [cluster],
            "contexts": [context],
            "users": [{"name": "me", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def run(self, name: str, *lines: str | None) -> None:
        """KubeRay's part: the cluster is up, the submitter runs and has logged `lines`."""
        labels = {"job-name": name}
        metadata = {"name": f"{name}-x7f2p", "labels": labels, "creationTimestamp": "2026-01-31T10:00:00Z"}
        self.pods[f"{name}-x7f2p"] = {"metadata": metadata, "status": {"phase": "Running"}}
        self.logs.setdefault(f"{name}-x7f2p", []).extend(lines)
        self.status(
            name, jobStatus="RUNNING", jobDeploymentStatus="Running", startTime="2026-01-31T10:00:01Z"
        )

    def status(self, name: str, **status: str) -> None:
        self.jobs[name].setdefault("status", {}).update(status)


@contextmanager
def serving() -> Iterator[KubeApi]:
    """The API on a free port of this machine."""
    api = KubeApi()

    class Handler(_Handler):
        cluster = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    cluster: KubeApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url, query = self._begin()
        if url is None:
            return
        if url == RAYJOBS:
            wanted = dict(pair.split("=") for pair in query["labelSelector"][0].split(","))
            items = [
                job
                for job in self.cluster.jobs.values()
                if wanted.items() <= job["metadata"]["labels"].items()
            ]
            self._answer(
                200, {"apiVersion": "ray.io/v1", "kind": "RayJobList", "metadata": {}, "items": items}
            )
        elif url.startswith(f"{RAYJOBS}/"):
            self._with_job(url, lambda job: job)
        elif url == PODS:
            name, value = query["labelSelector"][0].split("=")
            pods = [pod for pod in self.cluster.pods.values() if pod["metadata"]["labels"].get(name) == value]
            self._answer(200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods})
        elif url.startswith(f"{PODS}/") and url.endswith("/log"):
            self._log(url.removeprefix(f"{PODS}/").removesuffix("/log"), "true" in query.get("follow", []))
        else:
            self._refuse(404, f"no such path {url}")

    def do_POST(self) -> None:
        url, _ = self._begin()
        if url is None:
            return
        body = self._body()
        if url != RAYJOBS or not self.cluster.knows_rayjobs:
            self._answer_text(404, "404 page not found\n")
            return
        body["metadata"] |= {
            "namespace": "training",
            "creationTimestamp": f"2026-01-31T10:00:{len(self.cluster.jobs):02}Z",
        }
        self.cluster.jobs[body["metadata"]["name"]] = body
        self._answer(201, body)

    def do_PATCH(self) -> None:
        url, _ = self._begin()
        if url is not None:
            body = self._body()
            self._with_job(url, lambda job: job["spec"].update(body["spec"]) or job)

    def do_DELETE(self) -> None:
        url, _ = self._begin()
        if url is not None:
            self._with_job(url, lambda job: self.cluster.jobs.pop(job["metadata"]["name"]))

    def _begin(self) -> tuple[str | None, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.cluster.requests.append((self.command, parts.path))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "Unauthorized")
            return None, {}
        return parts.path, parse_qs(parts.query)

    def _body(self) -> Object:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def _with_job(self, url: str, act: Any) -> None:
        name = url.rpartition("/")[2]
        if name not in self.cluster.jobs:
            self._refuse(404, f'rayjobs.ray.io "{name}" not found')
        else:
            self._answer(200, act(self.cluster.jobs[name]))

    def _log(self, pod: str, follow: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        at, end = 0, time.monotonic() + 30
        while time.monotonic() < end:
            lines = self.cluster.logs[pod]
            while at < len(lines):
                line = lines[at]
                at += 1
                if line is None:
                    end = 0
                    break
                self._chunk(f"{line}\n".encode())
                if self.cluster.broken_logs and at == len(lines):
                    self.cluster.broken_logs -= 1
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
            if not follow:
                break
            time.sleep(0.02)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _refuse(self, status: int, message: str) -> None:
        self._answer(
            status,
            {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "code": status},
        )

    def _answer(self, status: int, body: Object) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _answer_text(self, status: int, body: str) -> None:
        self._send(status, "text/plain", body.encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: Any) -> None:
        """Tests have no use for it on standard error."""
