"""A cluster that is not there is told at once, not after Ray's minutes."""

from __future__ import annotations

import socket

import pytest

from acclimate.errors import TrainingError
from acclimate.training.ray_connection import connected
from tests.support.answering import answering


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_named(form: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = form.format(probe.getsockname()[1])
        with (
            pytest.raises(TrainingError, match=r"nothing answers at 127\.0\.0\.1"),
            connected(address, 1),
        ):
            pass


def test_a_port_that_is_none_is_named() -> None:
    with (
        pytest.raises(TrainingError, match="head:99999999' is no address"),
        connected("head:99999999", 1),
    ):
        pass


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_what_is_no_ray_is_named_at_once(form: str) -> None:
    with (
        answering(lambda asked: (404, {}, b"")) as port,
        pytest.raises(TrainingError, match=r"what answers at 127\.0\.0\.1:\d+ is no Ray cluster"),
        connected(form.format(port), 1),
    ):
        pass
