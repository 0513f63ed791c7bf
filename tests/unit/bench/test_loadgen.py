"""The load generator of the service benchmarks, against a server of the standard library."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.loadgen import Load, closed_loop, open_loop

REQUEST = [b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"]


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(304)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("expected", [b"304", b"200"])
def test_a_closed_loop_counts_answers_and_odd_ones(port: int, expected: bytes) -> None:
    load = closed_loop(port, REQUEST, expected, 0.2, os.getpid(), connections=2)
    assert load.count > 0
    assert load.odd == (0 if expected == b"304" else load.count)


def test_an_open_loop_keeps_its_rate(port: int) -> None:
    load: Load = open_loop(port, REQUEST, b"304", 50.0, 0.4, os.getpid())
    assert load.odd == 0
    assert load.count == 20
