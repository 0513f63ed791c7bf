"""What the server does around the application."""

from __future__ import annotations

import gc

import pytest
import uvicorn

from acclimate.rollout.server import _Server

pytestmark = pytest.mark.anyio


async def test_what_is_there_at_the_start_is_not_looked_through_for_garbage_again():
    server = _Server(uvicorn.Config(lambda: None, port=0, lifespan="off", log_config=None))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    frozen = gc.get_freeze_count()
    try:
        await server.startup()
        assert gc.get_freeze_count() > frozen + 10_000
        await server.shutdown()
    finally:
        gc.unfreeze()
