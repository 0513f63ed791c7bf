"""Who calls: the one door in front of every operator route.

A route that writes asks for a role by its annotation (`AsOperator`, `AsAdmin`); one that reads takes
`AsViewer`. There is no route without one, which a test checks route by route.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from acclimate.rollout.api.limits import RateLimit, client_address
from acclimate.rollout.api.operator.operators import Operator, Operators
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.api.tokens import Role

_scheme = HTTPBearer(auto_error=False, description="An API token: `acl_…`")


class Door:
    """Lets operators in by their tokens, and keeps everybody to a rate."""

    def __init__(self, operators: Operators, limit: RateLimit, anonymous: RateLimit) -> None:
        self._operators, self._limit, self._anonymous = operators, limit, anonymous

    async def admit(self, token: str | None, address: str) -> Operator:
        """The operator who holds `token`.

        Raises:
            ProblemError: 401, or 429 for an operator over its rate or an address that fails too often.
        """
        if not self._operators.knows(token):
            self._anonymous.take(address)  # before the store is asked, so that guessing is slow and cheap
        operator = await self._operators.identify(token)
        self._limit.take(operator.id)
        return operator

    def pass_session(self, operator: Operator) -> None:
        """Keep somebody who has signed in to the same rate. ProblemError 429 over it."""
        self._limit.take(operator.id)

    def pass_stranger(self, address: str) -> None:
        """Keep an address from which nobody has signed in to its rate. ProblemError 429 over it."""
        self._anonymous.take(address)


async def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)]
) -> Operator:
    """The operator behind a request."""
    door: Door = request.app.state.door
    token = credentials.credentials if credentials else None
    operator = await door.admit(token, client_address(request.scope))
    request.state.operator = operator
    return operator


def _at_least(role: Role) -> object:
    def check(operator: Annotated[Operator, Depends(caller)]) -> Operator:
        operator.require(role)
        return operator

    return Depends(check)


AsViewer = Annotated[Operator, _at_least(Role.viewer)]
AsOperator = Annotated[Operator, _at_least(Role.operator)]
AsAdmin = Annotated[Operator, _at_least(Role.admin)]


def see(operator: Operator, fleet: str | None) -> None:
    """Raise ProblemError 404 unless the operator may know of the fleet: as if it were not there."""
    if not operator.sees(fleet):
        raise ProblemError(404, "not-found", f"no fleet {fleet!r}")
