"""Blocking calls of the service, made in a thread so that polls go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar, TypeVarTuple

from anyio import to_thread

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
INLINE: ContextVar[bool] = ContextVar("INLINE", default=False)
"""Whether calls are made where they are: a simulation answers one request at a time anyway."""


async def in_thread(call: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """What `call` gives, without keeping the event loop from other requests."""
    if INLINE.get():
        return call(*arguments)
    return await to_thread.run_sync(call, *arguments)
