import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from acclimate.rollout.api import problems
from acclimate.rollout.api.limits import BodyLimit, RateLimit, network_of
from acclimate.rollout.api.problems import ProblemError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_the_rate():
    clock = Clock()
    limit = RateLimit(rate=2.0, burst=3, clock=clock)
    assert [limit.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limit.wait_s("a") == pytest.approx(0.5)
    assert limit.wait_s("b") == 0.0
    clock.now = 0.5
    assert limit.wait_s("a") == 0.0
    assert limit.wait_s("a") > 0


def test_refused_requests_do_not_prolong_the_wait():
    clock = Clock()
    limit = RateLimit(rate=1.0, burst=1, clock=clock)
    limit.wait_s("a")
    for _ in range(100):
        limit.wait_s("a")
    clock.now = 1.0
    assert limit.wait_s("a") == 0.0


def test_the_limit_says_when_to_come_back():
    limit = RateLimit(rate=0.1, burst=1, clock=Clock())
    limit.take("a")
    with pytest.raises(ProblemError) as refusal:
        limit.take("a")
    assert refusal.value.status == 429
    assert int(refusal.value.headers["Retry-After"]) >= 10


def test_memory_is_bounded():
    limit = RateLimit(rate=1.0, burst=1, clock=Clock(), max_keys=10)
    for index in range(1000):
        limit.wait_s(str(index))
    assert len(limit._full_at) == 10


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def client() -> httpx.AsyncClient:
    handlers = dict.fromkeys(problems.HANDLED, problems.answer)
    app = BodyLimit(Starlette(routes=[Route("/", echo, methods=["POST"])], exception_handlers=handlers), 100)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.anyio
async def test_a_body_within_the_limit_passes():
    async with client() as http:
        assert (await http.post("/", content=b"x" * 100)).text == "100"


@pytest.mark.anyio
async def test_an_announced_or_streamed_body_over_the_limit_is_refused():
    async def stream():
        for _ in range(11):
            yield b"x" * 10

    async with client() as http:
        for content in (b"x" * 101, stream()):
            answer = await http.post("/", content=content)
            assert answer.status_code == 413
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:acclimate:problem:too-large"


@pytest.mark.anyio
async def test_a_packed_body_is_refused():
    async with client() as http:
        assert (await http.post("/", content=b"x", headers={"Content-Encoding": "gzip"})).status_code == 415


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::a:b:c:d", "2001:db8::1", True),
        ("2001:db8:0:0:ffff::", "2001:0DB8::1", True),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", True),
        ("2001:db8:1:2::7", "2001:db8:1:3::7", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:c000:207", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("192.0.2.7", "192.0.2.8", False),
        ("unknown", "2001:db8::1", False),
    ],
)
def test_a_client_counts_by_its_network_however_that_is_written(first: str, second: str, same: bool):
    assert (network_of(first) == network_of(second)) is same
