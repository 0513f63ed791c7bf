"""A real Ray cluster of several nodes on this machine, and a connection to it that can be cut."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from click.testing import CliRunner, Result

from acclimate.cli.main import cli
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


WORKER = 1  # the second node's number


class RayCluster:
    """A head and a second node, one core each, with Ray's own token authentication.

    Attributes:
        environment: of its processes: a home of their own, which holds the token.
        token: what clients have to show; a head that finds one asks for it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("RAY_", "MLFLOW_")) and key != "ACCLIMATE_HOME"
        }
        self.environment = {
            **kept,
            "HOME": str(home),
            "ACCLIMATE_HOME": str(home / "acclimate"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'device_sdk'}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # not behind everything else on a busy machine
            "OMP_NUM_THREADS": "1",
        }
        self.token = secrets.token_hex(32)  # as `ray get-auth-token --generate` leaves one
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text(self.token)
        self.gcs, self.dashboard = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.dashboard}"
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._start(
            "--head",
            "--node-ip-address=127.0.0.1",
            f"--port={self.gcs}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard}",
            f"--ray-client-server-port={free_port()}",
        )
        try:
            wait_until(lambda: answers(self.gcs), "the head takes nodes in")
            join = (f"--address=127.0.0.1:{self.gcs}", "--node-ip-address=127.0.0.1")
            self._start(*join, RAY_AUTH_MODE="token")
            log = home / f"node{WORKER}.log"
            wait_until(lambda: "Ray runtime started" in log.read_text(), "the second node has joined")
            wait_until(lambda: answers(self.dashboard), "the head's Jobs API answers")
        except BaseException:
            self.stop()
            raise

    def processes(self, number: int) -> list[str]:
        """The command lines of a node's processes."""
        return [command_line(pid) for pid in descendants(self._nodes[number].pid)]

    def kill_node(self, number: int) -> None:
        """As a power cut does it: every process of the node at once."""
        for pid in descendants(self._nodes[number].pid):
            with suppress(ProcessLookupError):  # it ended with its parent
                os.kill(pid, signal.SIGKILL)
        self._nodes[number].wait()

    def stop(self) -> None:
        for node in reversed(self._nodes):
            if node.poll() is None:
                node.terminate()
        for number, node in enumerate(self._nodes):
            try:
                node.wait(20)
            except subprocess.TimeoutExpired:  # it waits for a job that some failed test left
                self.kill_node(number)

    def acclimate(self, *arguments: str, url: str | None = None) -> subprocess.Popen[str]:
        """An `acclimate` command of someone who has the token, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "acclimate", *arguments],
            env=self.environment | self._access(url),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def invoke(self, *arguments: str, url: str | None = None, token: str | None = None) -> Result:
        """The same in this process, which has the libraries loaded; for commands that end by themselves."""
        return CliRunner().invoke(cli, arguments, env=self.environment | self._access(url, token))

    def _access(self, url: str | None = None, token: str | None = None) -> dict[str, str]:
        return {"RAY_AUTH_TOKEN": token or self.token, "RAY_API_SERVER_ADDRESS": url or self.url}

    def _start(self, *arguments: str, **variables: str) -> None:
        command = ["ray", "start", "--block", "--num-cpus=1", "--min-worker-port=0", "--max-worker-port=0"]
        memory = f"--object-store-memory={100 * 1024 * 1024}"
        with (self.home / f"node{len(self._nodes)}.log").open("wb") as log:
            self._nodes.append(
                subprocess.Popen(
                    [*command, memory, "--disable-usage-stats", *arguments],
                    env={**self.environment, **variables},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )


class Cable:
    """A port of this machine that leads to another one until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Every connection breaks, and nobody answers."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with closing(each), suppress(OSError):  # its peer was quicker
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self._listener = self._listen(self.port)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(true: Callable[[], object], what: str, patience_s: float = 90) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.2)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:  # it has ended
        return ""


def descendants(pid: int) -> list[int]:
    """A process and all that descend from it, from Linux's process table."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found
