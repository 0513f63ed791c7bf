"""The service as the device sees it: enrol, get a token, ask for the desired state, hand in reports."""

from __future__ import annotations

import functools
import gzip
import secrets
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

from acclimate_device import __version__
from acclimate_device.agent.identity import DeviceKey, Identity, verifier
from acclimate_device.agent.machine import Starts
from acclimate_device.agent.transport import Response, Transport, refuse_page
from acclimate_device.errors import ConfigError, ProtocolError, TransportError, UntrustedError
from acclimate_device.protocol import (
    CONTRIBUTION_PATH,
    ENROLMENT_PATH,
    KEY_PATH,
    LIMITS,
    PROBLEM_PREFIX,
    REPORT_PATH,
    ROUND_PATH,
    STATE_PATH,
    TOKEN_PATH,
    TURN_PATH,
    Contribution,
    DesiredState,
    Enrolled,
    Enrolment,
    Envelope,
    KeyChange,
    Problem,
    ProblemName,
    Receipt,
    Report,
    ReportBatch,
    Round,
    Start,
    Token,
    TokenRequest,
    Turn,
    countersigned,
    dumps,
    loads,
    parse,
    seal,
    sign_request,
    unseal,
)
from acclimate_device.telemetry import moment

T = TypeVar("T")
Scalar = str | int | float | bool
_ANSWER_BYTES = 64 * 1024
_GZIP_FROM = 1024
_OFFSET_S = 10.0
"""A clock is off from here on: `Date` knows whole seconds, and an answer takes some."""


class Service:
    """Requests on behalf of one device.

    Args:
        transport: to the service.
        identity: of the device.
        clock: Unix seconds; corrected by the service's `Date` where it is far off.
        new_nonce: 32 random hexadecimal digits.
        keep_offset: called with the seconds by which the service's clock is ahead, when that changed.
        starts: tells the service which start of which machine asks; None tells nothing.
    """

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        clock: Callable[[], float] = time.time,
        new_nonce: Callable[[], str] = lambda: secrets.token_hex(16),
        keep_offset: Callable[[float], None] = lambda offset_s: None,
        starts: Starts | None = None,
    ) -> None:
        self._transport, self._identity = transport, identity
        self._clock, self._new_nonce, self._keep_offset = clock, new_nonce, keep_offset
        self._starts = starts
        self._signs = getattr(transport, "overheard", False)
        self._clock_offset = 0.0
        self._token, self._token_until = "", 0.0

    @property
    def clock_offset_s(self) -> float:
        """How far the service's clock is ahead, as of the latest answer; 0 within some seconds."""
        return self._clock_offset

    def enrol(
        self, token: str, hardware_id: str, attributes: Mapping[str, Scalar], service_key: str
    ) -> Enrolled:
        """Join the fleet the one-time token is for. Asking again with the same token gives the same answer.

        Raises:
            TransportError: no success (`enrolment-refused`: ask an operator for a new token).
            UntrustedError: the service's key is not the configured one.
        """
        key = self._identity.key()
        message = Enrolment(token, key.public, hardware_id, dict(attributes), __version__)
        answer = self._post(ENROLMENT_PATH, dumps(seal(message, key.sign, key.public.key_id)))
        enrolled = loads(Enrolled, answer.body, _ANSWER_BYTES)
        if service_key and service_key not in {one.ed25519 for one in enrolled.service_keys}:
            raise UntrustedError("the service's key is not the configured service_key: not enrolled")
        if not enrolled.service_keys:
            raise UntrustedError("the service named no key to verify its assignments with: not enrolled")
        self._identity.save(enrolled)
        return enrolled

    def change_key(self) -> None:
        """Go over to the next key, as the same device. May be repeated after any failure.

        Raises:
            TransportError: no success; until it has one, every request for a token tries again first.
        """
        enrolled = self.enrolled()
        old, new = self._identity.begin_change()
        try:
            self._in_time(lambda: self._send_change(enrolled, old, new))
        except TransportError as error:
            if error.status == 404:  # a service that knows no such request
                self._identity.end_change(taken=False)
            raise
        self._identity.end_change(taken=True)
        self._token = ""

    def _send_change(self, enrolled: Enrolled, old: DeviceKey, new: DeviceKey) -> None:
        message = KeyChange(
            enrolled.device_id,
            enrolled.service_keys[0].key_id,
            self._now(),
            self._new_nonce(),
            new.public,
        )
        envelope = seal(message, old.sign, old.public.key_id)
        self._post(KEY_PATH, dumps(countersigned(envelope, new.sign, new.public.key_id)))

    def state(self, etag: str) -> tuple[DesiredState, str] | None:
        """The desired state and its ETag, its signature checked; None if it is still the one of `etag`.

        Raises:
            TransportError: no success.
            UntrustedError: not signed by a key this device trusts.
        """
        headers = {"If-None-Match": etag} if etag else {}
        answer = self.authorized("GET", STATE_PATH, headers, None, LIMITS.envelope_bytes)
        if answer.status == 304:
            return None
        envelope = loads(Envelope, answer.body, LIMITS.envelope_bytes)
        state = unseal(envelope, DesiredState, verifier(self.enrolled().service_keys))
        return state, answer.headers.get("etag", "")

    def round(self) -> Round | None:
        """What a campaign asks of this device, its signature checked; None where nothing is.

        Raises:
            TransportError: no success.
            UntrustedError: not signed by a key this device trusts.
        """
        answer = self.authorized("GET", ROUND_PATH, {}, None, LIMITS.envelope_bytes)
        if answer.status == 204:
            return None
        envelope = loads(Envelope, answer.body, LIMITS.envelope_bytes)
        return unseal(envelope, Round, verifier(self.enrolled().service_keys))

    def contribute(self, given: Contribution) -> None:
        """Hand in a contribution; the same again counts once.

        Raises:
            TransportError: no success.
        """
        self.tell(CONTRIBUTION_PATH, given)

    def turn(self) -> Turn | None:
        """What a round that hides contributions wants of this device now; None where nothing, or no more.

        Raises:
            TransportError: no success.
        """
        answer = self.authorized("GET", TURN_PATH, {}, None, LIMITS.turn_bytes)
        return None if answer.status == 204 else loads(Turn, answer.body, LIMITS.turn_bytes)

    def tell(self, path: str, message: object) -> None:
        """Hand in what a round asks for.

        Raises:
            TransportError: no success.
        """
        headers = {"Content-Type": "application/json"}
        self.authorized("POST", path, headers, dumps(message), _ANSWER_BYTES)

    def report(self, reports: tuple[Report, ...]) -> Receipt:
        """Hand in reports; what the receipt accepts is durable there.

        Raises:
            TransportError: no success.
        """
        body, headers = dumps(ReportBatch(reports, self._start())), {"Content-Type": "application/json"}
        if len(body) >= _GZIP_FROM:
            body, headers = gzip.compress(body, mtime=0), {**headers, "Content-Encoding": "gzip"}
        answer = self.authorized("POST", REPORT_PATH, headers, body, _ANSWER_BYTES)
        return loads(Receipt, answer.body, _ANSWER_BYTES)

    def authorized(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        """A request with a bearer token, which is fetched when there is none and once more when refused.

        Over a transport that is overheard it is signed instead.
        """
        for attempt in (1, 2):
            proof = self._signed(method, path, body) if self._signs else f"Bearer {self._bearer()}"
            sent = {**headers, "Authorization": proof}
            answer = self._request(method, path, sent, body, max_bytes)
            if answer.status != 401 or attempt == 2:
                break
            self._token = ""
        return _successful(method, path, answer)

    def enrolled(self) -> Enrolled:
        """This device's enrolment.

        Raises:
            ConfigError: it has none.
        """
        enrolled = self._identity.enrolled()
        if enrolled is None:
            raise ConfigError("this device is not enrolled: run acclimate-device enrol with a token")
        return enrolled

    def _signed(self, method: str, path: str, body: bytes | None) -> str:
        if self._identity.changing():
            self.change_key()
        enrolled, now = self.enrolled(), self._now()
        audience, sign = enrolled.service_keys[0].key_id, self._identity.key().sign
        return sign_request(enrolled.device_id, audience, now, method, path, body, sign)

    def _bearer(self) -> str:
        if self._token and self._clock() < self._token_until:
            return self._token
        if self._identity.changing():
            self.change_key()
        token = self._in_time(self._request_token)
        self._token = token.access_token
        self._token_until = self._clock() + 0.9 * token.expires_in_s
        return self._token

    def _in_time(self, ask: Callable[[], T]) -> T:
        """What `ask` gives; once more where the service found the clock off, which corrected it."""
        try:
            return ask()
        except TransportError as error:
            if error.problem != problem("clock-skew"):
                raise
            return ask()

    def _request_token(self) -> Token:
        enrolled, key = self.enrolled(), self._identity.key()
        message = TokenRequest(
            enrolled.device_id,
            enrolled.service_keys[0].key_id,
            self._now(),
            self._new_nonce(),
            sdk=__version__,
            start=self._start(),
        )
        answer = self._post(TOKEN_PATH, dumps(seal(message, key.sign, key.public.key_id)))
        return loads(Token, answer.body, _ANSWER_BYTES)

    def _now(self) -> float:
        """Unix seconds by the service's clock, as far as this device knows."""
        return moment(self._clock() + self._clock_offset)

    def _start(self) -> Start | None:
        return None if self._starts is None else self._starts.current(self.enrolled().device_id)

    def _post(self, path: str, body: bytes) -> Response:
        headers = {"Content-Type": "application/json"}
        return _successful("POST", path, self._request("POST", path, headers, body, _ANSWER_BYTES))

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        """A request, whose answer also tells what the service's clock says."""
        answer = self._transport.request(method, path, headers, body, max_bytes)
        refuse_page(path, answer)  # whose clock is nobody's business
        there = _date(answer)
        if there is not None and abs(there - self._clock() - self._clock_offset) > _OFFSET_S:
            self._clock_offset = there - self._clock()
            self._keep_offset(self._clock_offset)
        return answer


def problem(name: ProblemName) -> str:
    """The `type` of a problem."""
    return PROBLEM_PREFIX + name


def _date(answer: Response) -> float | None:
    """The service's Unix seconds, where it says them, and a calendar has them."""
    return _moment(answer.headers.get("date", ""))


@functools.lru_cache(8)
def _moment(date: str) -> float | None:
    try:
        there = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):  # whatever a server may write there
        return None
    return there if there == moment(there) else None


def _successful(method: str, path: str, answer: Response) -> Response:
    if answer.status in (200, 201, 204, 206, 304):
        return answer
    try:
        details = parse(Problem, answer.body, _ANSWER_BYTES)
        kind, said = str(details.get("type", "")), str(details.get("detail") or details.get("title", ""))
    except (ProtocolError, AttributeError):
        kind, said = "", answer.body[:200].decode(errors="replace")
    raise TransportError(f"{method} {path}: {answer.status} {said}", answer.status, kind, _pause_s(answer))


def _pause_s(answer: Response) -> float:
    """What `Retry-After` asks for, in seconds or until a date of the service's clock; 0 where nothing."""
    asked = answer.headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return float(asked)
    until, now = _moment(asked), _date(answer)
    return 0.0 if until is None or now is None else max(0.0, until - now)
