"""Addresses of a Jobs API as people write them, and what answers there instead of one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import ray

from acclimate.errors import TrainingError
from acclimate.training.jobs import ray_jobs
from acclimate.training.jobs.job import Order, UnreachableError
from acclimate.training.jobs.ray_jobs import RayJobs, jobs_api
from acclimate.training.recipe_file import load_recipe


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("head", "http://head:8265"),
        ("localhost", "http://localhost:8265"),
        ("10.0.0.1:8265", "http://10.0.0.1:8265"),
        ("[::1]", "http://[::1]:8265"),
        (" http://head:8265\n", "http://head:8265"),
        ("https://ray.example/team", "https://ray.example/team"),  # an Ingress has its scheme's port
    ],
)
def test_a_host_alone_means_its_dashboard(given: str, meant: str) -> None:
    assert jobs_api(given) == meant


@pytest.mark.parametrize(
    "given",
    ["ftp://x", "ray://head:10001", "http://", "http://[::1", "http://h:port", "://", "http://ada:hidden@"],
)
def test_what_is_no_address_is_told_before_anybody_is_asked(given: str) -> None:
    with pytest.raises(TrainingError, match=r"http://HEAD:8265|is no address") as raised:
        jobs_api(given)
    assert "hidden" not in str(raised.value)


@pytest.fixture
def answering() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server, and the body with which it answers."""
    said = {"body": b""}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(said["body"])))
            self.end_headers()
            self.wfile.write(said["body"])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", said
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'"x"', b"3", b"<html>", b'{"ray_version": 3}'])
def test_whatever_answers_else_is_no_defect(answering: tuple[str, dict[str, bytes]], body: bytes) -> None:
    url, said = answering
    said["body"] = body
    with pytest.raises(UnreachableError, match="no Ray Jobs API answers"):
        RayJobs(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(UnreachableError, match=r"ada:\*\*\*@127") as raised:
        RayJobs("http://ada:hidden@127.0.0.1:1")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "environment",
    [
        {"pip": 3},
        {"env_vars": {"A": 1}},
        {"env_vars": ["A"]},
        {"pip": ["x"], "conda": "y"},
        {"working_dir": "/none"},
    ],
)
def test_a_runtime_environment_that_ray_refuses_is_told(
    answering: tuple[str, dict[str, bytes]], environment: dict[str, object]
) -> None:
    url, said = answering
    said["body"] = json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": "x"}).encode()
    jobs = RayJobs(url, environment)
    with pytest.raises(TrainingError):
        jobs.submit(Order("name", load_recipe("sinusoid")))


def test_a_cluster_whose_agents_are_about_to_start_is_asked_again(
    answering: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head answers 500 before a node can take a job."""
    url, said = answering
    said["body"] = json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": "x"}).encode()
    monkeypatch.setattr(ray_jobs, "_AGAIN_S", 0.0)
    jobs, asked = RayJobs(url), []

    def submit(**given: object) -> None:
        asked.append(given["submission_id"])
        if len(asked) < 3:
            raise RuntimeError("Request failed with status code 500: No available agent to submit job")

    monkeypatch.setattr(jobs._client, "submit_job", submit)
    assert jobs.submit(Order("name", load_recipe("sinusoid"))).name == "name"
    assert asked == ["name"] * 3
    monkeypatch.setattr(ray_jobs, "_STARTING_S", 0.0)
    asked.clear()
    with pytest.raises(UnreachableError, match="No available agent"):
        jobs.submit(Order("name", load_recipe("sinusoid")))


def test_the_cluster_that_was_named_is_nobody_elses(
    answering: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said = answering
    said["body"] = json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": "x"}).encode()
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://another:8265")
    RayJobs(url)
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://another:8265"
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    RayJobs(url)
    assert "RAY_API_SERVER_ADDRESS" not in os.environ
