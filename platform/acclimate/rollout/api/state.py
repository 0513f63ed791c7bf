"""The poll: `GET /device/v1/state`, the one request that every device sends all day.

It touches no database. The bearer token is checked by its MAC, the assignment is a pure function of what the
roster holds, and the signed answer is kept until its counter changes. An entity tag names the counter, so a
device that is up to date costs no signature either: it gets 304.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.api.limits import RateLimit
from acclimate.rollout.api.metrics import ServiceMetrics
from acclimate.rollout.api.problems import MEDIA_TYPE, ProblemError, unauthenticated
from acclimate.rollout.api.proofs import trusting
from acclimate.rollout.api.roster import Roster, Section
from acclimate.rollout.api.taken import TakenLog
from acclimate.rollout.api.tokens import Access, AccessTokens
from acclimate.rollout.domain.assignment import Assignment
from acclimate.rollout.domain.fleet import Member
from acclimate_device.protocol import LIMITS, DesiredState, PublicKey, SignedRequest, digest_of, dumps, seal

_Headers = list[tuple[bytes, bytes]]
_BEARER, _DEVICE = b"bearer ", "/device/"
_POLLS_A_REPORT = 3
"""A report covers that many polls: 15 minutes at the default. Shorter ones tell more of single examples."""


class Gatekeeper:
    """Knows devices by their bearer tokens or signatures, in memory, and keeps each to its rate.

    Args:
        audience: id of this service's key; a request that was signed for another service is refused.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        roster: Roster,
        limit: RateLimit,
        audience: str,
        clock: Callable[[], float],
    ) -> None:
        self._tokens, self._roster, self.limit, self.clock = tokens, roster, limit, clock
        self._holds = functools.lru_cache(20_000)(functools.partial(_holds, audience))

    def admit(self, authorization: bytes, method: str, path: str) -> tuple[Access, Section, Member]:
        """The device behind an `Authorization` header. Of a request with a body, ask `check_body` too.

        Raises:
            ProblemError: 401 without a valid token or signature, 403 for a retired device, 429 over its rate.
        """
        if authorization[:7].lower() == _BEARER:
            access, section, member = self._bearer(authorization[7:].decode("latin-1").strip())
        else:
            access, section, member = self._signer(authorization.decode("latin-1"), method, path)
        if member.retired:
            raise ProblemError(403, "device-retired", f"device {access.device} was retired: stop polling")
        if access.epoch != member.epoch:
            raise _expired()
        self.limit.take(pace_of(access))
        return access, section, member

    @staticmethod
    def check_body(authorization: bytes, body: bytes) -> None:
        """Whether the body is the one that was signed; a bearer token says nothing of it.

        Raises:
            ProblemError: 401.
        """
        signed = SignedRequest.read(authorization.decode("latin-1"))
        if signed is not None and signed.digest != digest_of(body):
            raise ProblemError(401, "signature-invalid", "the body is not the one that was signed")

    def _bearer(self, token: str) -> tuple[Access, Section, Member]:
        access = self._tokens.check(token, self.clock())
        found = self._roster.find(access.fleet, access.device) if access is not None else None
        if access is None or found is None:
            raise _expired()
        return access, *found

    def _signer(self, authorization: str, method: str, path: str) -> tuple[Access, Section, Member]:
        signed = SignedRequest.read(authorization)
        if signed is None:
            raise unauthenticated("send the bearer token that POST /device/v1/tokens gives")
        found = self._roster.find_anywhere(signed.device_id)
        path = _DEVICE + path.partition(_DEVICE)[2]  # a proxy may serve it below another one
        if found is None or not self._holds(signed, found[1].public_key, method, path):
            detail = "no key of an enrolled device signed this request to this service"
            raise ProblemError(401, "signature-invalid", detail)
        ahead = signed.issued_at - self.clock()
        if not -LIMITS.token_s <= ahead <= LIMITS.clock_skew_s:
            detail = f"signed {-ahead:+.0f} s ago: set the clock by the Date header"
            raise ProblemError(401, "clock-skew", detail)
        section, member = found
        until = int(signed.issued_at + LIMITS.token_s)
        return Access(section.fleet.name, member.id, member.epoch, until), section, member


def pace_of(access: Access) -> str:
    """What the rate of a device is kept under."""
    return f"{access.fleet} {access.device}"


def asked_by(request: Request) -> tuple[bytes, str, str]:
    """What `Gatekeeper.admit` wants to know of a request."""
    return request.headers.get("authorization", "").encode("latin-1"), request.method, request.url.path


@dataclass(frozen=True, slots=True)
class _Current:
    """Of a bearer token, what its device was told last. It holds while nothing in the fleet changes."""

    section: Section
    changes: int
    until: int
    pace: str
    tag: bytes


class StateEndpoint:
    """The ASGI application of the poll; bare, because a framework's request costs more than the answer."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        key: ServiceKey,
        taken: TakenLog,
        roster: Roster,
        metrics: ServiceMetrics,
        max_cached: int = 20_000,
    ) -> None:
        self._gatekeeper, self._key, self._taken, self._roster = gatekeeper, key, taken, roster
        self._polls = functools.cache(metrics.polls.labels)
        self._key_id = PublicKey.of(key.public_bytes).key_id
        self._tag_end = f'-{self._key_id[:12]}"'.encode()
        self._signed: OrderedDict[tuple[str, str], tuple[bytes, bytes]] = OrderedDict()
        self._current: OrderedDict[bytes, _Current] = OrderedDict()
        self._max_cached = max_cached

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, body = self.answer(scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(self, scope: Scope) -> tuple[int, _Headers, bytes]:
        """Status, headers and body."""
        if scope["method"] not in ("GET", "HEAD"):
            detail = "the desired state is read with GET"
            return _problem(ProblemError(405, "method-not-allowed", detail, {"Allow": "GET, HEAD"}))
        authorization = known = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"if-none-match":
                known = value
        try:
            if current := self._still(authorization, known):
                return self._unchanged(current.section.fleet.name, current.tag)
            access, section, member = self._gatekeeper.admit(authorization, scope["method"], scope["path"])
        except ProblemError as problem:
            self._polls("", "refused").inc()
            return _problem(problem)
        assignment = section.assignment(member)
        tag = b'"%d-%d%b' % (assignment.counter, section.fleet.poll_interval_s, self._tag_end)
        if authorization[:7].lower() == _BEARER:  # a signature is of one request alone
            self._remember(authorization, access, section, tag)
        if tag in known:  # quoted and all: a proxy may have made it weak, or listed others beside it
            return self._unchanged(access.fleet, tag)
        body = self._body(access, section, assignment, tag)
        self._taken.told(access.device, assignment)
        self._polls(access.fleet, "changed").inc()
        headers = [
            (b"etag", tag),
            _NO_STORE,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        return 200, headers, b"" if scope["method"] == "HEAD" else body

    def _still(self, authorization: bytes, known: bytes) -> _Current | None:
        """What a device was told, if it holds that and it is all there is to say.

        Raises:
            ProblemError: 429 over its rate.
        """
        current = self._current.get(authorization)
        if current is None or current.tag not in known or current.changes != current.section.changes:
            return None
        if self._gatekeeper.clock() >= current.until:
            return None
        self._gatekeeper.limit.take(current.pace)
        return current

    def _remember(self, authorization: bytes, access: Access, section: Section, tag: bytes) -> None:
        told = _Current(section, section.changes, access.expires_at, pace_of(access), tag)
        self._current[authorization] = told
        self._current.move_to_end(authorization)
        while len(self._current) > max(self._max_cached, self._roster.devices):
            self._current.popitem(last=False)  # the one told longest ago: tokens that were renewed first

    def _unchanged(self, fleet: str, tag: bytes) -> tuple[int, _Headers, bytes]:
        self._polls(fleet, "unchanged").inc()
        return 304, [(b"etag", tag), _NO_STORE], b""

    def _body(self, access: Access, section: Section, assignment: Assignment, tag: bytes) -> bytes:
        key = (access.fleet, access.device)
        kept = self._signed.get(key)
        if kept is not None and kept[0] == tag:
            return kept[1]
        state = desired_state(access, assignment, section.fleet.poll_interval_s)
        body = dumps(seal(state, self._key.sign, self._key_id))
        self._signed[key] = (tag, body)
        self._signed.move_to_end(key)
        if len(self._signed) > self._max_cached:
            self._signed.popitem(last=False)
        return body


def _holds(audience: str, signed: SignedRequest, public_key: bytes, method: str, path: str) -> bool:
    """Whether a device's signature is of this request. The bridge repeats one: it is checked once."""
    key = PublicKey.of(public_key)
    return trusting(key)(key.key_id, signed.covers(audience, method, path), signed.signature)


def desired_state(access: Access, assignment: Assignment, poll_interval_s: float) -> DesiredState:
    """What is said to the device. Equal counters give equal states, to the bit, whoever says it and whenever:
    `issued_at` is therefore the moment of the change, which a counter tells in milliseconds."""
    return DesiredState(
        device_id=access.device,
        fleet=access.fleet,
        counter=assignment.counter,
        action=assignment.action,
        release=assignment.release,
        issued_at=assignment.counter / 1000,
        poll_s=poll_interval_s,
        report_s=min(_POLLS_A_REPORT * poll_interval_s, LIMITS.poll_s[1]),
    )


_NO_STORE = (b"cache-control", b"no-store")


def _expired() -> ProblemError:
    return ProblemError(
        401,
        "token-expired",
        "fetch a new bearer token with POST /device/v1/tokens",
        {"WWW-Authenticate": 'Bearer realm="acclimate", error="invalid_token"'},
    )


def _problem(problem: ProblemError) -> tuple[int, _Headers, bytes]:
    body = problem.body()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, headers, body
