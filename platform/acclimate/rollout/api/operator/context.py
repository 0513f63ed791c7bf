"""What the operator routes work with, handed to them by the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from acclimate.errors import RolloutError
from acclimate.rollout.api.operator.operators import Operator
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.faults import Faults
from acclimate.rollout.releases import Published, Releases
from acclimate.rollout.retraining import Retrainer
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import ConflictError, NotFoundError, Store
from acclimate_device.protocol import Release

Limit = Annotated[int, Query(ge=1, le=1000)]


@dataclass(frozen=True)
class Desk:
    """The store, the published releases, the settings, who trains again (None: nobody), and what fails."""

    store: Store
    releases: Releases
    settings: ServiceSettings
    retrainer: Retrainer | None
    faults: Faults | None = None

    def release(self, reference: str, operator: Operator, fleet: str) -> Release:
        """The published release that `reference` names, for one fleet.

        Raises:
            ProblemError: 422, when there is none, or none that the operator may know of.
        """
        with unprocessable("unknown-release"):
            return self.choose(reference, operator, fleet)

    def choose(self, reference: str, operator: Operator, fleet: str) -> Release:
        """Likewise, for who answers a refusal (RolloutError) otherwise."""
        return self.releases.resolve(reference, fleet, self._known_to(operator, fleet)).release

    def published(self, operator: Operator, fleet: str) -> list[Published]:
        """Bundles that an operator may give a fleet."""
        knows = self._known_to(operator, fleet)
        return [one for one in self.releases.published(fleet) if knows(one.release.name)]

    def _known_to(self, operator: Operator, fleet: str) -> Callable[[str], bool]:
        """Whether an operator may know of a model.

        One who is limited to a fleet knows what was published for it, or, of what is published for everybody,
        the models that someone with a view of all fleets has given it before.
        """
        if operator.fleet is None or self.releases.has_own(fleet):
            return lambda name: True
        given = {release.name for release in self.store.given_releases(fleet)}
        return given.__contains__


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


@contextmanager
def unprocessable(name: str) -> Iterator[None]:
    """Answer what the domain refuses in a body with 422, and leave what is missing or taken as it is."""
    try:
        yield
    except (NotFoundError, ConflictError):
        raise
    except RolloutError as error:
        raise ProblemError(422, name, str(error)) from None
