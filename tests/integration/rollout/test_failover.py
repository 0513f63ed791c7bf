"""A database that fails over: the old node stays up and only reads, and every connection to it lies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from acclimate.rollout.store import open_store
from tests.support.postgres import PostgresServer
from tests.support.rollout_samples import NOW, a_fleet, a_report

pytestmark = pytest.mark.slow


class Address:
    """An address that leads elsewhere after a switch; connections made before stay where they are."""

    def __init__(self, port: int) -> None:
        self.to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()


@pytest.fixture
def second() -> Iterator[PostgresServer]:
    server = PostgresServer(fsync=False)
    yield server
    server.close()


def test_after_a_switch_the_new_node_is_written(postgres: PostgresServer, second: PostgresServer):
    old, new = postgres.new_database(), second.new_database()
    open_store(new).close()
    address = Address(_port(old))
    store = open_store(f"postgresql://postgres@127.0.0.1:{address.port}/{old.rpartition('/')[2]}")
    name = new.rpartition("/")[2]
    if name != old.rpartition("/")[2]:
        with psycopg.connect(second.url(), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} RENAME TO {old.rpartition('/')[2]}")
    store.add_fleet(a_fleet(), "ada")
    assert store.add_reports([a_report("device-1", 1)]) == 1

    address.to = _port(new)
    with store._database.engine.connect() as pooled:  # as a server that became a standby: for every session
        pooled.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        pooled.commit()
    with pytest.raises(DBAPIError) as refused:
        store.ping(NOW)
    assert refused.value.connection_invalidated
    store.ping(NOW)  # there is nothing to restart: the next connection is to the new node
    store.add_fleet(a_fleet(), "ada")
    assert store.add_reports([a_report("device-1", 2)]) == 1
    store.close()
    address.close()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])
