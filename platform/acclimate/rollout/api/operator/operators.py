"""Operators: who calls the REST interface or the console, by API token, and what they may do."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from acclimate.errors import RolloutError
from acclimate.rollout.api.blocking import in_thread
from acclimate.rollout.api.problems import ProblemError, unauthenticated
from acclimate.rollout.api.tokens import API_PREFIX, Role, hash_token, new_token
from acclimate.rollout.domain.access import ApiToken
from acclimate.rollout.store import ConflictError, Store


@dataclass(frozen=True)
class Operator:
    """A known caller. `fleet` is the only fleet it may see; None for all."""

    id: str
    name: str
    role: Role
    fleet: str | None

    def require(self, role: Role) -> None:
        """Raise ProblemError 403 unless the operator has `role`."""
        if self.role < role:
            detail = f"token {self.name!r} is a {self.role.name}'s; this needs a token of role {role.name}"
            raise ProblemError(403, "not-allowed", detail)

    def require_all_fleets(self) -> None:
        """Raise ProblemError 403 if the operator is limited to one fleet."""
        if self.fleet is not None:
            detail = f"token {self.name!r} is limited to fleet {self.fleet!r}; this concerns all fleets"
            raise ProblemError(403, "not-allowed", detail)

    def sees(self, fleet: str | None) -> bool:
        """Whether the operator may know of a fleet at all."""
        return self.fleet is None or self.fleet == fleet


class Operators:
    """API tokens in memory, following the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens: dict[str, ApiToken] = {}

    async def refresh(self) -> None:
        """Take in new and revoked tokens."""
        tokens = await in_thread(self._store.api_tokens)
        self._tokens = {token.hash: token for token in tokens}

    def knows(self, token: str | None) -> bool:
        """Whether `token` can be checked without asking the store."""
        return bool(token) and hash_token(token or "") in self._tokens

    async def identify(self, token: str | None) -> Operator:
        """The operator who holds `token`.

        Raises:
            ProblemError: 401, for no token or one that is unknown, revoked or expired.
        """
        if not token:
            raise unauthenticated("send an API token: Authorization: Bearer acl_…")
        kept = hash_token(token)
        if kept not in self._tokens and token.startswith(API_PREFIX):
            await self.refresh()  # made a moment ago, by another replica perhaps
        return self._operator(self._tokens.get(kept))

    def by_id(self, token_id: str) -> Operator:
        """The operator whose token has this id; for sessions.

        Raises:
            ProblemError: 401, once the token is revoked or expired.
        """
        return self._operator(next((one for one in self._tokens.values() if one.id == token_id), None))

    def _operator(self, token: ApiToken | None) -> Operator:
        if token is None or token.revoked_at is not None:
            raise unauthenticated("the API token is unknown or was revoked")
        if token.expires_at is not None and token.expires_at <= time.time():
            raise unauthenticated(f"the API token {token.name!r} has expired")
        return Operator(token.id, token.name, Role[token.role], token.fleet)


def first_admin(store: Store, given: str, now: float) -> str | None:
    """Make sure that an administrator can enter.

    Args:
        given: a token from the outside; it becomes an administrator's if it is not known yet.

    Returns:
        a fresh token to show once, where no token that is known lets an administrator of all fleets in.

    Raises:
        RolloutError: the given token is so short that it could be guessed.
    """
    if given and len(given) < 20:
        raise RolloutError("ACCLIMATE_ADMIN_TOKEN is shorter than 20 characters: use a random one")
    if given and hash_token(given) not in {token.hash for token in store.api_tokens()}:
        with suppress(ConflictError):  # another replica was given it too, and was quicker
            store.add_api_token(_admin(hash_token(given), now), "start")
    token, kept = new_token(API_PREFIX)
    return token if store.add_first_admin(_admin(kept, now), "start") else None


def _admin(kept: str, now: float) -> ApiToken:
    return ApiToken(
        id=kept[:12], name="admin", role=Role.admin.name, hash=kept, created_at=now, created_by="start"
    )
