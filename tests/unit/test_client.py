"""What a client of the rollout service says where its address, token or answer is not what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acclimate.client import ServiceClient, connect, credentials_file
from acclimate.errors import RolloutError
from tests.support.answering import Asked, answering


@pytest.fixture
def seen() -> list[str | None]:
    """The tokens that were sent to the portal."""
    return []


@pytest.fixture
def portal(seen: list[str | None]) -> Iterator[str]:
    """Answers everything with the page of a network that wants a login."""

    def page(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        seen.append(asked.headers["Authorization"])
        return 200, {"Content-Type": "text/html"}, b"<html>sign in</html>"

    with answering(page) as port:
        yield f"http://127.0.0.1:{port}"


def test_a_page_for_people_is_no_answer(portal: str) -> None:
    with pytest.raises(RolloutError, match=r"is no rollout service \(it sent text/html\)"):
        ServiceClient(portal, "acl_x").get("/fleets")


def test_a_line_break_after_a_token_is_none_of_it(portal: str, seen: list[str | None]) -> None:
    with pytest.raises(RolloutError):
        ServiceClient(portal + "/\n", "acl_x\n").get("/fleets")
    assert seen == ["Bearer acl_x"]


@pytest.mark.parametrize("token", ["acl_sec\nret", "acl_sécret", "acl_sec\x00ret", "acl_sec ret"])
def test_a_damaged_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(RolloutError, match="holds what no token does") as raised:
        ServiceClient("http://127.0.0.1:1", token)
    assert "acl_" not in str(raised.value)


@pytest.mark.parametrize("token", ["", " \n"])
def test_no_token_is_named(token: str) -> None:
    with pytest.raises(RolloutError, match="is empty: copy it again"):
        ServiceClient("http://127.0.0.1:1", token)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "", "http://[::1"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(RolloutError, match=r"begin it with http://|cannot be used"):
        ServiceClient(url, "acl_x")


def test_a_proxy_that_stands_between_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(RolloutError, match=r"through the proxy 127\.0\.0\.1:1 \(NO_PROXY") as raised:
        ServiceClient("http://service.example", "acl_x").get("/fleets")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("content", [b'{"url": ', b"[]", b"\xff\xfe", b'{"url": 3, "token": null}', b"{}"])
def test_damaged_credentials_are_named(
    content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ACCLIMATE_URL", "ACCLIMATE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    credentials_file().parent.mkdir(parents=True)
    credentials_file().write_bytes(content)
    with pytest.raises(RolloutError, match="is damaged: sign in again"):
        connect()


@pytest.mark.parametrize("name", ["", "../rollouts", "a?b", "a#b", "a b", "%2e%2e", "é", "..", "a\n"])
def test_what_is_no_name_is_asked_of_nobody(name: str, portal: str, seen: list[str | None]) -> None:
    with pytest.raises(RolloutError, match=r"names nothing there"):
        ServiceClient(portal, "acl_x").get(f"/fleets/{name}")
    assert seen == []


def test_what_json_cannot_hold_is_not_sent() -> None:
    circle: list[object] = []
    circle.append(circle)
    for value in (float("nan"), float("inf"), circle, object()):
        with pytest.raises(RolloutError, match="cannot be sent"):
            ServiceClient("http://127.0.0.1:1", "acl_x").post("/fleets", {"waves": value})


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_variable_is_one_that_is_not_set(blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_URL", f"{blank}http://127.0.0.1:1{blank}")
    monkeypatch.setenv("ACCLIMATE_TOKEN", f"{blank}acl_x{blank}")
    assert (connect().url, connect().token) == ("http://127.0.0.1:1", "acl_x")
    monkeypatch.setenv("ACCLIMATE_TOKEN", blank)
    with pytest.raises(RolloutError, match=r"no token for http://127\.0\.0\.1:1:"):
        connect()
