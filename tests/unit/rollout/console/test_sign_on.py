"""Single sign-on against a provider over real HTTP, honest and lying."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse, Response

from acclimate.rollout.settings import ServiceSettings
from tests.support import openid_provider
from tests.support.openid_provider import CLIENT, SECRET
from tests.unit.rollout.conftest import running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def issuer():
    with openid_provider.running() as provider:
        yield provider


@pytest.fixture
def provider(issuer):
    issuer.claims = {"sub": "ada-1", "email": "ada@example.com", "groups": ["fleet-ops"]}
    issuer.tamper, issuer.sign_with, issuer.says = (lambda claims: claims), issuer.key, {}
    return issuer


@pytest.fixture
async def signed_on(tmp_path: Path, migrated: Path, provider):
    shutil.copy(migrated, tmp_path / "rollout.db")
    settings = ServiceSettings(
        home=tmp_path,
        anonymous_rate=0,
        public_url="http://test",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_operators="fleet-ops, night-shift",
        oidc_admins="platform",
        oidc_fleet_claim="fleet",
    )
    async with running(settings) as world:
        await world.call("POST", "/fleets", {"name": "plant"}, 201)
        await world.call("POST", "/fleets", {"name": "rival"}, 201)
        provider.claims["fleet"] = "plant"
        yield world


async def go(world, target="/console/fleets/plant"):
    """Leave for the provider and come back, as a browser does; the answer to the way back."""
    left = await world.http.get(f"/console/sign-on?next={target}")
    assert left.status_code == 303, left.text
    async with httpx.AsyncClient() as browser:
        back = (await browser.get(left.headers["location"])).headers["location"]
    assert back.startswith("http://test/console/sign-on/callback?")
    parts = urlsplit(back)
    return await world.http.get(f"{parts.path}?{parts.query}")


async def test_whom_the_provider_vouches_for_enters_with_the_role_of_the_groups(signed_on):
    page = await signed_on.http.get("/console/login")
    assert "Sign in with single sign-on" in page.text
    arrived = await go(signed_on)
    assert arrived.status_code == 200
    assert 'content="0; url=/console/fleets/plant"' in arrived.text
    shown = await signed_on.http.get("/console/fleets/plant")
    assert shown.status_code == 200
    assert "ada@example.com" in shown.text
    assert "(operator)" in shown.text
    assert (await signed_on.http.get("/console/fleets/rival")).status_code == 404
    assert (await signed_on.http.get("/console/audit")).status_code == 403
    entry = (await signed_on.call("GET", "/audit"))[0]
    assert (entry["action"], entry["actor"], entry["detail"]) == (
        "session.open",
        "ada@example.com",
        "oidc:ada-1",
    )


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (lambda claims: claims | {"groups": ["visitors"]}, "none of the groups"),
        (lambda claims: claims | {"groups": None}, "none of the groups"),
        (lambda claims: claims | {"fleet": None}, "names no fleet"),
        (lambda claims: claims | {"aud": "another"}, "does not hold"),
        (lambda claims: claims | {"iss": "http://evil.example"}, "does not hold"),
        (lambda claims: claims | {"nonce": "replayed"}, "does not hold"),
        (lambda claims: claims | {"exp": 1}, "does not hold"),
        (lambda claims: {name: claims[name] for name in claims if name != "sub"}, "does not hold"),
        (lambda claims: claims | {"sub": None}, "does not hold"),
        (lambda claims: claims | {"sub": {"id": 7}}, "does not hold"),
        (lambda claims: claims | {"sub": "ada\0"}, "does not hold"),
        (lambda claims: claims | {"sub": "a" * 300}, "does not hold"),
        (lambda claims: claims | {"exp": "soon"}, "does not hold"),
        (lambda claims: claims | {"groups": {"fleet-ops": True}}, "none of the groups"),
        (lambda claims: claims | {"fleet": ["plant"]}, "names no fleet"),
    ],
)
async def test_claims_that_do_not_hold_open_nothing(signed_on, provider, lie, says):
    provider.tamper = lie
    refused = await go(signed_on)
    assert refused.status_code == 403
    assert says in refused.text
    assert (await signed_on.http.get("/console/")).status_code == 303


async def test_a_token_signed_by_another_key_opens_nothing(signed_on, provider):
    provider.sign_with = RSAKey.generate_key(2048, {"kid": "one"})
    refused = await go(signed_on)
    assert (refused.status_code, "does not hold" in refused.text) == (403, True)


async def test_an_answer_to_a_question_that_this_browser_never_asked_opens_nothing(signed_on):
    left = await signed_on.http.get("/console/sign-on")
    signed_on.http.cookies.clear()
    async with httpx.AsyncClient() as browser:
        back = (await browser.get(left.headers["location"])).headers["location"]
    refused = await signed_on.http.get(f"/console/sign-on/callback?{urlsplit(back).query}")
    assert (refused.status_code, "began elsewhere" in refused.text) == (403, True)


async def test_without_a_provider_there_is_no_single_sign_on(world):
    assert "single sign-on" not in (await world.http.get("/console/login")).text
    assert (await world.http.get("/console/sign-on")).status_code == 404


NOTHING = ["a list"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/keys", Response("<html>moved</html>")),
        ("/keys", Response(status_code=500)),
        ("/keys", JSONResponse(NOTHING)),
        ("/keys", JSONResponse({"keys": None})),
        ("/keys", JSONResponse({"keys": [{"kty": "new"}]})),
        ("/keys", JSONResponse({"keys": NOTHING})),
        ("/keys", JSONResponse({})),
        ("/keys", Response("[" * 200_000)),
        ("/token", Response("[" * 200_000)),
        ("/token", Response("<html>busy</html>")),
        ("/token", Response(status_code=503)),
        ("/token", JSONResponse(NOTHING)),
        ("/token", JSONResponse({"error": {"code": 7}}, 400)),
        ("/token", JSONResponse({"access_token": "x", "token_type": "Bearer"})),
        ("/token", JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": None})),
        ("/token", JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": ["x"]})),
        ("/token", JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": "é.b.c"})),
        ("/token", JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": "W10.W10.W10"})),
        ("/token", JSONResponse({"access_token": "x", "token_type": "Bearer", "expires_in": "soon"})),
    ],
)
async def test_whatever_a_provider_answers_it_is_told_in_words(signed_on, provider, path, says):
    provider.says = {path: says}
    refused = await go(signed_on)
    assert (refused.status_code, "does not hold" in refused.text) == (403, True), refused.text


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (Response("<html>moved</html>"), "does not answer"),
        (Response(status_code=502), "does not answer"),
        (JSONResponse(NOTHING), "does not answer"),
        (JSONResponse("text"), "does not answer"),
        (JSONResponse({"issuer": 7}), "calls itself 7"),
        (Response("[" * 200_000), "does not answer"),
    ],
)
async def test_without_a_usable_description_nobody_is_sent_away(signed_on, provider, says, told):
    provider.says = {"/.well-known/openid-configuration": says}
    refused = await signed_on.http.get("/console/sign-on")
    assert (refused.status_code, told in refused.text) == (502, True), refused.text


@pytest.mark.parametrize(
    ("name", "address", "status", "told"),
    [
        ("authorization_endpoint", "https://[x/k", 502, "authorization_endpoint is not HTTPS"),
        ("token_endpoint", "https://x/\x01t", 403, "does not hold"),
        ("jwks_uri", "https://x:99999/k", 403, "does not hold"),
    ],
)
async def test_an_address_that_is_none_is_told_in_words(signed_on, provider, name, address, status, told):
    paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
    usual = {each: f"{provider.issuer}/{path}" for each, path in paths.items()}
    description = {"issuer": provider.issuer} | usual | {name: address}
    provider.says = {"/.well-known/openid-configuration": JSONResponse(description)}
    refused = await (signed_on.http.get("/console/sign-on") if status == 502 else go(signed_on))
    assert (refused.status_code, told in refused.text) == (status, True), refused.text


async def test_an_email_of_blanks_is_nobodys_name(signed_on, provider):
    provider.claims["email"] = "  "
    await go(signed_on)
    assert (await signed_on.call("GET", "/audit"))[0]["actor"] == "ada-1"
