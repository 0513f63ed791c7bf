"""What tests share does not make them depend on one another."""

from __future__ import annotations

import gzip
import socket

import pytest

from tests.support.ports import free_port


def test_a_port_is_given_once_and_is_none_that_connections_get() -> None:
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50
    with open("/proc/sys/net/ipv4/ip_local_port_range") as told:
        lowest = int(told.read().split()[0])
    assert max(given) + 10_000 < max(lowest, 30_001)


def test_a_port_at_which_somebody_listens_is_not_given() -> None:
    before = free_port()
    with socket.create_server(("127.0.0.1", 10_000 + (before + 1) % 10_000)):
        assert free_port() != before + 1


@pytest.mark.parametrize("body", [gzip.compress(b"packed in some second")])
def test_bytes_give_a_test_no_name_of_their_own(body: bytes, request: pytest.FixtureRequest) -> None:
    assert request.node.callspec.id == "body"
