"""Blocking calls of the service, made in a thread so that polls go on meanwhile.

Who waits for a peer that accepts and never answers holds a thread for as long. So there are three kinds of
threads, each with its own bound: for what devices and the service itself need of the database, for files,
which may lie in an object store, and, those of the framework, for what people ask.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
INLINE: ContextVar[bool] = ContextVar("INLINE", default=False)
"""Whether calls are made where they are: a simulation answers one request at a time anyway."""
_DATABASE, _FILES = CapacityLimiter(40), CapacityLimiter(40)


async def in_thread(call: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """What `call` gives of the database, without keeping the event loop from other requests."""
    return await _called(_DATABASE, call, *arguments)


async def in_file_thread(call: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """What `call` gives of a file store, likewise."""
    return await _called(_FILES, call, *arguments)


async def in_persons_thread(call: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """What `call` gives for a person, whatever that asks: among the threads of the framework's endpoints."""
    return await _called(None, call, *arguments)


async def _called(
    limiter: CapacityLimiter | None, call: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Result:
    if INLINE.get():
        return call(*arguments)
    return await to_thread.run_sync(call, *arguments, limiter=limiter)
