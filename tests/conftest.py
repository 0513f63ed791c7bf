"""Fixtures that more than one kind of test uses."""

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import PostgresServer

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # a slow machine is no fault of what is tested

# Ray runs workers at niceness 15: beside a busy neighbour a test would wait for them for minutes.
os.environ.setdefault("RAY_worker_niceness", "0")


# A shell's background jobs are begun deaf to Ctrl-C, and so would be every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are called by their argument, not by what is in them.

    Packed bytes carry the second they were packed in, and two workers that collect in two seconds would
    disagree about the names of their tests.
    """
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def shared_folders_keep_their_rights() -> Iterator[None]:
    """Nothing that a test runs closes the machine's folders to others: a service once did, with `/tmp`."""
    folders = {"/tmp", tempfile.gettempdir()}
    before = {folder: os.stat(folder).st_mode for folder in folders}
    yield
    assert {folder: os.stat(folder).st_mode for folder in folders} == before


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole session; `postgres.new_database()` gives an empty database."""
    server = PostgresServer(fsync=False)
    yield server
    server.close()
