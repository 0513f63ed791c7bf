"""Single sign-on: who an OpenID provider says that somebody is, and what its groups let them do here.

The authorization code flow with PKCE (RFC 6749, RFC 7636; OpenID Connect Core 1.0, sections 3.1 and 3.1.3.7).
What is remembered between leaving for the provider and coming back lies in a signed cookie of ten minutes:
the session's own is not sent along when another site leads the browser here.
"""

from __future__ import annotations

import functools
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from itsdangerous import BadSignature, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from acclimate.errors import RolloutError
from acclimate.rollout.api.operator.operators import Operator
from acclimate.rollout.api.tokens import Role
from acclimate.rollout.console.sessions import AWAY_S, SIGN_ON, SIGN_ON_PATH
from acclimate.rollout.settings import LOOPBACK, ServiceSettings

DISCOVERY_S = 3600.0
ANSWER_S = 10.0
"""A provider's longest silence."""
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures by a key that only the provider has; never `none`, never a shared secret."""


_SUBJECT = 251
"""Characters of a subject: those of the column behind `SIGN_ON`. A shorter one could be somebody else's."""
_NO_ANSWER = (
    AuthlibBaseError,
    JoseError,
    httpx.HTTPError,
    httpx.InvalidURL,
    RecursionError,  # of JSON without end
    KeyError,
    ValueError,
    TypeError,  # of the libraries, where JSON of another shape comes than the specification has
    AttributeError,
)


class SignOnError(RolloutError):
    """The provider does not answer as it should, or vouches for nobody who may enter."""


@dataclass(frozen=True)
class Departure:
    """Where to send the browser, and what it must bring back in a cookie."""

    url: str
    cookie: str


class SignOn:
    """One OpenID provider.

    Args:
        secret: signs what the browser carries meanwhile; shared by all replicas.
    """

    def __init__(self, settings: ServiceSettings, secret: str) -> None:
        self._settings = settings
        self._carried = URLSafeTimedSerializer(secret, salt="single sign-on")
        self._discovered: dict[str, Any] = {}
        self._discovered_at = 0.0

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to; register it there."""
        return f"{self._settings.url}{SIGN_ON_PATH}/callback"

    @functools.cached_property
    def _trust(self) -> ssl.SSLContext:
        """Read once: it takes a tenth of a second, and meanwhile nobody is answered."""
        return httpx.create_ssl_context()

    async def leave(self, target: str) -> Departure:
        """Begin: `target` is the page of the console to show afterwards.

        Raises:
            SignOnError: the provider cannot be reached.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        async with self._client() as client:
            endpoint = (await self._discover())["authorization_endpoint"]
            url, _ = client.create_authorization_url(
                endpoint, state=state, nonce=nonce, code_verifier=verifier, redirect_uri=self.redirect_uri
            )
        carried = {"state": state, "nonce": nonce, "verifier": verifier, "target": target}
        return Departure(url, str(self._carried.dumps(carried)))

    async def arrive(self, query: Mapping[str, str], cookie: str) -> tuple[Operator, str]:
        """End: the operator whom the provider vouches for, and the page to show.

        Raises:
            SignOnError: the answer is not to our question, is not the provider's, or opens nothing here.
        """
        try:
            carried: dict[str, str] = self._carried.loads(cookie, max_age=AWAY_S)
        except BadSignature:
            raise SignOnError("the sign-in took too long or began elsewhere: sign in again") from None
        if not secrets.compare_digest(query.get("state", "").encode(), carried["state"].encode()):
            raise SignOnError("the sign-in began elsewhere: sign in again")
        if "error" in query:
            said = query.get("error_description") or query["error"]
            raise SignOnError(f"the OpenID provider refused: {said[:200]}")
        claims = await self._claims(query.get("code", ""), carried)
        return self._operator(claims), carried["target"]

    async def _claims(self, code: str, carried: Mapping[str, str]) -> dict[str, Any]:
        discovered = await self._discover()
        try:
            async with self._client() as client:
                token = await client.fetch_token(
                    discovered["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=carried["verifier"],
                    redirect_uri=self.redirect_uri,
                )
                keys = (await client.request("GET", discovered["jwks_uri"], withhold_token=True)).json()
            decoded = jwt.decode(token["id_token"], KeySet.import_key_set(keys), algorithms=ALGORITHMS)
            expected = jwt.JWTClaimsRegistry(
                leeway=60,
                iss={"essential": True, "value": self._settings.oidc_issuer},
                aud={"essential": True, "value": self._settings.oidc_client_id},
                nonce={"essential": True, "value": carried["nonce"]},
                exp={"essential": True},
                sub={"essential": True},
            )
            expected.validate(decoded.claims)
            _check_subject(decoded.claims["sub"])
        except _NO_ANSWER as error:
            raise SignOnError(
                f"the OpenID provider's answer does not hold ({error}): sign in again"
            ) from error
        return dict(decoded.claims)

    def _operator(self, claims: Mapping[str, Any]) -> Operator:
        told = [claims.get(name) for name in ("email", "preferred_username", "sub")]
        name = next(one for one in told if isinstance(one, str) and one.strip() and one.isprintable())[:200]
        role = self._role(claims)
        if role is None:
            raise SignOnError(f"{name} is in none of the groups that may enter: ask an administrator")
        fleet: str | None = None
        if self._settings.oidc_fleet_claim:
            fleet = claims.get(self._settings.oidc_fleet_claim)
            if role is not Role.admin and not isinstance(fleet, str):
                raise SignOnError(f"the OpenID provider names no fleet for {name}: ask an administrator")
            fleet = fleet if isinstance(fleet, str) else None
        return Operator(f"{SIGN_ON}{claims['sub']}", name, role, fleet)

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        told = claims.get(self._settings.oidc_claim, [])
        held = {told} if isinstance(told, str) else set(map(str, told if isinstance(told, list) else []))
        roles = {
            Role.admin: self._settings.oidc_admins,
            Role.operator: self._settings.oidc_operators,
            Role.viewer: self._settings.oidc_viewers,
        }
        wanted = {
            role: {one.strip() for one in text.split(",") if one.strip()} for role, text in roles.items()
        }
        return next((role for role, names in wanted.items() if names & held), None)

    async def _discover(self) -> dict[str, Any]:
        if self._discovered and time.monotonic() - self._discovered_at < DISCOVERY_S:
            return self._discovered
        issuer = self._settings.oidc_issuer
        try:
            async with httpx.AsyncClient(timeout=ANSWER_S, verify=self._trust) as client:
                answer = await client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                found: dict[str, Any] = dict(answer.raise_for_status().json())
        except _NO_ANSWER as error:
            raise SignOnError(f"the OpenID provider {issuer} does not answer ({error})") from error
        if found.get("issuer") != issuer:
            raise SignOnError(f"the OpenID provider calls itself {found.get('issuer')!r}, not {issuer!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _is_safe(str(found.get(name, ""))):
                raise SignOnError(f"the OpenID provider's {name} is not HTTPS")
        self._discovered, self._discovered_at = found, time.monotonic()
        return found

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._settings.oidc_client_id,
            self._settings.oidc_client_secret,
            scope=self._settings.oidc_scope,
            code_challenge_method="S256",
            timeout=ANSWER_S,
            verify=self._trust,
        )


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _check_subject(subject: Any) -> None:
    if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT or not subject.isprintable():
        raise ValueError(f"sub is no name of at most {_SUBJECT} characters")
