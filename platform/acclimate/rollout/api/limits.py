"""Limits against clients that ask too often or send too much; both bounded in memory themselves."""

from __future__ import annotations

import functools
import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acclimate.rollout.api.problems import MEDIA_TYPE, ProblemError


class RateLimit:
    """A token bucket for each key (a device, an operator's token, an address), of requests or of bytes.

    Args:
        rate: requests a second a key may keep up; 0 or less allows everything.
        burst: requests a key may make at once after a rest.
        clock: monotonic seconds.
        max_keys: keys remembered; the one longest unused is forgotten, which only ever favours it.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float], max_keys: int = 200_000) -> None:
        self._rate, self._burst, self._clock, self._max_keys = rate, float(burst), clock, max_keys
        # Only (time at which the bucket is full again) per key, the GCRA form: one float, no pair to update.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, key: str, cost: float = 1.0) -> float:
        """Take `cost` requests of `key`: 0 when allowed, else the seconds after which to try again.

        What costs more than a burst is allowed after a rest.
        """
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + min(cost, self._burst) / self._rate
        excess = (full_at - now) - self._burst / self._rate
        if excess > 1e-9:
            return excess
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._max_keys:
            self._full_at.popitem(last=False)
        return 0.0

    def exhausted(self, key: str) -> bool:
        """Whether the next request of `key` would have to wait; takes nothing."""
        if self._rate <= 0 or key not in self._full_at:
            return False
        return self._full_at[key] + 1 / self._rate - self._clock() > self._burst / self._rate + 1e-9

    def take(self, key: str, cost: float = 1.0) -> None:
        """Take `cost` requests of `key`.

        Raises:
            ProblemError: 429 with `Retry-After`.
        """
        wait_s = self.wait_s(key, cost)
        if wait_s > 0:
            seconds = int(wait_s) + 1
            raise ProblemError(
                429, "rate-limited", f"try again in {seconds} s", {"Retry-After": str(seconds)}
            )


class BodyLimit:
    """Refuses bodies over `max_bytes`, announced or not, before anything reads them whole.

    Bodies with a `Content-Encoding` are refused too, so that no small body can unpack into a large one.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        encoding = headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            await _refuse(send, ProblemError(415, "encoded-body", "send the body without a Content-Encoding"))
        elif not announced.isdigit() or len(announced) > 18 or int(announced) > self._max_bytes:
            await _refuse(send, self._too_large())
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                # Not a ProblemError: FastAPI turns what it does not know into a 400 while it reads a body.
                raise HTTPException(413, self._too_large().detail)
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> ProblemError:
        return ProblemError(413, "too-large", f"send at most {self._max_bytes} bytes at a time")


async def _refuse(send: Send, problem: ProblemError) -> None:
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem.body()})


def client_address(scope: Scope) -> str:
    """The address a request came from, for limits: as told by trusted proxies, else the peer's.

    IPv6 clients own whole networks, so they count by their /64.
    """
    return network_of(str(scope["client"][0]) if scope.get("client") else "unknown")


@functools.lru_cache(20_000)
def network_of(address: str) -> str:
    """An IPv4 address, or the /64 that an IPv6 address lies in, however either is written.

    An IPv4 address in IPv6's form is that address; a zone says which interface of ours it came by.
    """
    try:
        host = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(host, ipaddress.IPv4Address):
        return str(host)
    if host.ipv4_mapped:
        return str(host.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(host) >> 64 << 64))
