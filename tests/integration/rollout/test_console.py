"""The console in real Chromium: keyboard, accessibility, widths, light and dark, live parts, nothing from
elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from acclimate.rollout.api.keys import ServiceKey
from acclimate.rollout.domain.rollout import State
from acclimate.rollout.store import open_store
from tests.support.browser import chromium, complaints
from tests.support.rollout_world import World
from tests.support.serving import ADMIN, Served

pytestmark = pytest.mark.slow
PAGES = [
    "/console/",
    "/console/fleets/home",
    "/console/fleets/home/devices",
    "/console/fleets/home/enrolment",
    "/console/fleets/home/rollouts/new",
    "/console/rollouts",
    "/console/rollouts/rollout-1",
    "/console/rollouts/rollout-1/rollback",
    "/console/audit",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    """A service over a fleet in the middle of a rollout."""
    home = tmp_path_factory.mktemp("console")
    store = open_store(f"sqlite:///{home / 'rollout.db'}")
    world = World(store, 120)
    world.do("start")
    world.until(State.RUNNING)
    for _ in range(4):
        world.round()
    # The world's clock stands still, so no controller may move it: the world's own goes on leading.
    assert store.acquire_lease("controller", "served", time.time(), 15) is None
    store.close()
    ServiceKey.load_or_create(home / "service-key.pem")  # that the world's devices would know
    service = Served(home)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def signed_in(browser: Browser, served: Served, **context: object) -> tuple[Page, list[str]]:
    """A page signed in by keyboard alone, and what goes wrong on it from then on."""
    page = browser.new_context(**context).new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith(served.url) else wrong.append(request.url)
    )
    page.goto(f"{served.url}/console/rollouts/rollout-1")
    page.locator("input[name=token]:focus").wait_for()  # the page puts the focus there by itself
    page.keyboard.type(ADMIN)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served.url}/console/rollouts/rollout-1")
    return page, wrong


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)], ids=lambda value: str(value)
)
def test_every_page_is_accessible_fits_and_loads_nothing_from_elsewhere(browser, served, scheme, width):
    viewport = {"width": width, "height": 900}
    page, wrong = signed_in(browser, served, color_scheme=scheme, viewport=viewport)
    for path in PAGES:
        answer = page.goto(served.url + path)
        assert answer is not None
        assert answer.status == 200, path
        assert complaints(page) == [], path
    assert not wrong


def test_a_rollout_is_paused_by_keyboard_and_says_so(browser, served):
    page, wrong = signed_in(browser, served, viewport={"width": 1280, "height": 900})
    assert page.locator("svg.chart.wide").count() == 2
    assert page.locator("svg.chart .band").count() >= 1
    pause = page.get_by_role("link", name="Pause")
    for _ in range(40):
        page.keyboard.press("Tab")
        if pause.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_label("Why").fill("a look first")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_url(f"{served.url}/console/rollouts/rollout-1")
    assert "the rollout is paused" in page.get_by_role("status").inner_text()
    assert "a look first" in page.locator("#progress").inner_text()
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Resume").click()
    assert not wrong


def test_a_page_renews_itself_where_nobody_reads_and_types(browser, served):
    page, wrong = signed_in(browser, served)
    page.goto(f"{served.url}/console/rollouts")
    page.evaluate("document.querySelector('#rollouts').replaceChildren('stale')")
    page.locator("#rollouts table").wait_for(timeout=15_000)
    assert not wrong
