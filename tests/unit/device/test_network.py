"""The agent on networks as they are: proxies, portals, own authorities, no ranges, slow links."""

import contextlib
import hashlib
import os
import random
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from tuf.api.metadata import TargetFile

from acclimate_device.agent import Agent, HttpTransport
from acclimate_device.agent.identity import Identity
from acclimate_device.agent.mqtt import MqttTransport
from acclimate_device.agent.repository import Repository
from acclimate_device.agent.transport import Response, refuse_page
from acclimate_device.errors import TransportError
from acclimate_device.storage import Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import SimulatedFlash
from tests.support.answering import Asked, answering
from tests.support.certificates import Authority
from tests.support.gateway import Gateway
from tests.unit.device.test_queue import report

DATA = os.urandom(400_000)
HTML = {"Content-Type": "text/html; charset=utf-8"}


def ok(handler: Asked) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, b"ok"


def get(transport: HttpTransport, path: str = "/", most: int = 1000) -> bytes:
    return transport.request("GET", path, {}, None, most).body


# -- servers without ranges, links that break or are slow --------------------------------------------------


def fetch(port: int, attempts: int = 1, **options: float) -> tuple[bytes, int]:
    """A file of the repository over HTTP, and how many attempts it took."""
    transport = HttpTransport(f"http://127.0.0.1:{port}", **options)

    def part(path: str, headers: dict, most: int) -> Response:
        answer = transport.request("GET", f"/{path}", headers, None, most)
        refuse_page(path, answer)
        if answer.status not in (200, 206):
            raise TransportError(path, answer.status)
        return answer

    repository = Repository(part, b"", Path("unused"), SimulatedFlash())
    info = TargetFile(len(DATA), {"sha256": hashlib.sha256(DATA).hexdigest()}, "pumps/1/params.safetensors")
    for attempt in range(1, attempts + 1):
        try:
            return repository._file(info, lambda digest: None, 10**9), attempt
        except TransportError:
            if attempt == attempts:
                raise
    raise AssertionError("unreachable")


def test_a_server_that_ignores_ranges_delivers() -> None:
    with answering(lambda handler: (200, {}, DATA)) as port:
        assert fetch(port) == (DATA, 1)


def test_a_link_that_stalls_early_every_time_delivers_at_last() -> None:
    """No answer of more than 80 kB arrives in time."""

    def ranged(handler: Asked) -> tuple[int, dict[str, str], bytes]:
        start, end = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        body = DATA[start : end + 1]
        if len(body) > 80_000:
            handler.send_response(206)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:20_000])
            handler.wfile.flush()
            time.sleep(1.0)
            handler.connection.shutdown(socket.SHUT_RDWR)
        return 206, {}, body

    with answering(ranged) as port:
        data, attempts = fetch(port, attempts=60, timeout_s=0.2)
    assert data == DATA
    assert 2 < attempts < 8, "each break costs a wait only where nothing came since the one before"


@pytest.mark.parametrize("most", [20_000, 12_000])
def test_where_little_is_let_through_at_once_ranges_stay_small(most: int) -> None:
    asked = []

    def between(handler: Asked) -> tuple[int, dict[str, str], bytes]:
        first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        asked.append(last + 1 - first)
        return (206, {}, DATA[first : last + 1]) if asked[-1] <= most else (413, {}, b"")

    with answering(between) as port:
        assert fetch(port) == (DATA, 1)
    assert sum(size > most for size in asked) < len(asked) / 2, "what is too long is tried now and then"


def test_a_rate_is_kept() -> None:
    with answering(lambda handler: (200, {}, DATA[:40_000])) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", bytes_per_s=80_000)
        began = time.monotonic()
        assert get(transport, most=40_000) == DATA[:40_000]
        assert time.monotonic() - began >= 0.45


def test_a_part_of_another_range_is_not_taken() -> None:
    """A cache that gives the beginning, whatever is asked for."""

    def cached(handler: Asked) -> tuple[int, dict[str, str], bytes]:
        if "Range" not in handler.headers:
            return 200, {}, DATA
        return 206, {"Content-Range": f"bytes 0-999/{len(DATA)}"}, DATA[:1000]

    with answering(cached) as port:
        assert fetch(port) == (DATA, 1)


def test_a_whole_file_that_is_none_is_trouble_of_the_network() -> None:
    with answering(ok) as port, pytest.raises(TransportError, match="2 bytes came of 400000"):
        fetch(port)


def test_an_answer_that_drips_is_given_up() -> None:
    """Each byte comes in time, the whole would take minutes."""

    def drip(handler: Asked) -> tuple[int, dict[str, str], bytes]:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)
        return 200, {}, b""

    with answering(drip) as port, pytest.raises(TransportError, match="bytes came in"):
        get(HttpTransport(f"http://127.0.0.1:{port}", timeout_s=0.5))


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200, b"H" * 200, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40],
    ids=["one header", "status line", "many headers"],
)
def test_a_head_that_drips_is_given_up(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                for at in range(0, len(head), 2):
                    connection.sendall(head[at : at + 2])
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(TransportError, match=r"too slowly|timed out"):
            get(HttpTransport(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.4))
        assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("bytes_per_s", [0.0, 1e6])
def test_a_connection_serves_many_requests(bytes_per_s: float) -> None:
    clients = set()

    def noted(handler: Asked) -> tuple[int, dict[str, str], bytes]:
        clients.add(handler.client_address)
        return 200, {}, b"" if handler.path == "/empty" else b"ok"

    with answering(noted) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}", bytes_per_s=bytes_per_s)
        assert [get(transport, path) for path in ("/", "/empty", "/", "/")] == [b"ok", b"", b"ok", b"ok"]
    assert len(clients) == 1


# -- whatever answers --------------------------------------------------------------------------------------

STATUSES = (0, 100, 200, 201, 204, 206, 304, 400, 401, 403, 404, 413, 422, 429, 500, 503, 999)
NAMES = ("date", "retry-after", "etag", "content-type", "content-range")
VALUES = (
    "",
    "\xb2",
    "-1",
    "9" * 30,
    "Mon, 01 Jan 0001 00:00:00 -0000",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Wed, 21 Oct 2015 07:28:00 +99999999",
    "bytes 7-8/9",
)
BODIES = (
    b"",
    b"null",
    b"\xff",
    b"[" * 50_000,
    b"1" * 5000,
    b'{"type":5}',
    b'{"type":null,"detail":[1]}',
    b'{"access_token":"x","expires_in_s":1e400,"schema":1}',
    b'{"accepted":["","0"],"refused":[{"id":"\\ud800"}],"schema":1}',
    b'{"payload_type":"a","payload":"!","signatures":[]}',
)


def test_whatever_answers_an_agent_goes_on(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.ship(2)
    gateway.agent.poll()
    before = gateway.flash
    for number in range(120):
        chance = random.Random(number)

        def answer(*asked: object, chance: random.Random = chance) -> Response:
            headers = {chance.choice(NAMES): chance.choice(VALUES) for _ in range(2)}
            if chance.random() < 0.3:
                honest = gateway.service.request(*asked)
                return Response(honest.status, {**honest.headers, **headers}, honest.body)
            return Response(chance.choice(STATUSES), headers, chance.choice(BODIES))

        flash = before.after_power_cut()
        ReportQueue(Store(flash)).add(report(1))
        agent = Agent(SimpleNamespace(request=answer), flash, gateway.repository.root, tmp_path / str(number))
        assert 0 <= agent.round() < 2e5
        agent.service._transport = gateway.service
        while ReportQueue(Store(flash)).reports():
            agent.round()
        assert report(1).id in gateway.service.reports
        gateway.service.reports.clear()


# -- portals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers"),
    [(200, HTML), (200, {}), (302, {"Location": "http://portal/"}), (307, HTML), (511, HTML)],
)
def test_a_captive_portal_is_trouble_of_the_network_and_no_failure_of_trust(
    tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    gateway = Gateway(tmp_path)
    gateway.ship(2)
    honest = gateway.service.request
    portal = {name.lower(): value for name, value in headers.items()}
    for path in ("/device/v1/state", "/device/v1/repository", "/device/v1/tokens"):
        gateway.service._bearers.clear()
        gateway.service.request = lambda method, asked, *rest, path=path: (
            Response(status, portal, b"<html>sign in</html>")
            if asked.startswith(path)
            else honest(method, asked, *rest)
        )
        with pytest.raises(TransportError, match="captive portal"):
            gateway.agent.poll()
    gateway.service.request = honest
    gateway.agent.send_reports()
    assert not gateway.service.reports, "nothing was told as refused"
    assert gateway.agent.poll()


@pytest.mark.parametrize("part", ["timestamp.json", "snapshot.json", "targets.json", "/targets/"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (201, b"{}"),
        (204, b""),
        (206, b""),
        (304, b""),
        (200, b'{"error": "quota exceeded"}'),
        (200, b"null"),
        (200, b"service unavailable"),
    ],
)
def test_what_is_no_file_of_a_repository_is_trouble_of_the_network_and_no_failure_of_trust(
    tmp_path: Path, part: str, status: int, body: bytes
) -> None:
    gateway = Gateway(tmp_path)
    gateway.ship(2)
    honest = gateway.service.request
    gateway.service.request = lambda method, asked, *rest: (
        Response(status, {}, body) if part in asked else honest(method, asked, *rest)
    )
    with pytest.raises(TransportError):
        gateway.agent.poll()
    gateway.service.request = honest
    gateway.agent.send_reports()
    assert not gateway.service.reports, "nothing was told as refused"
    assert gateway.agent.poll()


@pytest.mark.parametrize(
    ("asked", "pause_s"),
    [
        ("120", 120.0),
        ("Wed, 21 Oct 2026 07:30:00 GMT", 120.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
    ],
)
def test_a_pause_is_asked_for_in_seconds_or_until_a_date(tmp_path: Path, asked: str, pause_s: float) -> None:
    gateway = Gateway(tmp_path)
    headers = {"retry-after": asked, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    gateway.service.request = lambda *_: Response(503, headers)
    with pytest.raises(TransportError) as refused:
        gateway.agent.poll()
    assert refused.value.retry_after_s == pause_s


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", "a\u2024\u2024b.example", "fleet\0.example"])
def test_a_host_that_no_name_may_be_is_trouble_of_the_network(host: str) -> None:
    with pytest.raises(TransportError, match="GET"):
        get(HttpTransport(f"https://{host}", timeout_s=1.0))


# -- proxies -----------------------------------------------------------------------------------------------


def test_an_own_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    ours, theirs = Authority(), Authority()
    with answering(ok, ours.server(tmp_path)) as port:
        url = f"https://127.0.0.1:{port}"
        assert get(HttpTransport(url, ours.write(tmp_path / "ours.pem"))) == b"ok"
        for bundle in (None, theirs.write(tmp_path / "theirs.pem")):
            with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
                get(HttpTransport(url, bundle))


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(TransportError, match=r"ca_file .*ca\.pem: .+: give certificates in PEM"):
        get(HttpTransport("https://127.0.0.1:1", bundle))
    with pytest.raises(TransportError, match=r"ca_file .*ca\.pem: .+: give certificates in PEM"):
        MqttTransport("mqtts://127.0.0.1:1", Identity(Store(SimulatedFlash())).key(), bundle)


@pytest.mark.parametrize(("days", "why"), [(-30, "has expired"), (30, "not yet valid")])
def test_a_certificate_out_of_its_time_asks_for_a_look_at_the_clock(
    tmp_path: Path, days: int, why: str
) -> None:
    ours = Authority(datetime.now(UTC) + timedelta(days=days))
    with (
        answering(ok, ours.server(tmp_path)) as port,
        pytest.raises(TransportError, match=f"{why}.*: if .* UTC is wrong, set this machine's clock"),
    ):
        get(HttpTransport(f"https://127.0.0.1:{port}", ours.write(tmp_path / "ours.pem")))


def test_an_agent_lives_on_when_certificate_and_authority_are_renewed(tmp_path: Path) -> None:
    first, second = Authority(), Authority()
    bundle = first.write(tmp_path / "ca.pem")
    context = first.server(tmp_path)
    with answering(ok, context) as port:
        transport = HttpTransport(f"https://127.0.0.1:{port}", bundle)
        assert get(transport) == b"ok"
        second.server(tmp_path)
        context.load_cert_chain(tmp_path / "server.pem")  # as a server does on SIGHUP
        second.write(bundle)
        transport.close()  # the server closed an idle connection
        assert get(transport) == b"ok"


def test_over_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").is_file():
        pytest.skip("this machine has no IPv6")
    authority = Authority()
    bundle = authority.write(tmp_path / "ca.pem")
    with answering(ok, authority.server(tmp_path), "::1") as port:
        assert get(HttpTransport(f"https://[::1]:{port}", bundle)) == b"ok"
