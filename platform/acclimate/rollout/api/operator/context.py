"""What the operator routes work with, handed to them by the application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from acclimate.errors import RolloutError
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.releases import Releases
from acclimate.rollout.retraining import Retrainer
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import ConflictError, NotFoundError, Store
from acclimate_device.protocol import Release

Limit = Annotated[int, Query(ge=1, le=1000)]


@dataclass(frozen=True)
class Desk:
    """The store, the published releases, the settings, and who trains again (None: nobody)."""

    store: Store
    releases: Releases
    settings: ServiceSettings
    retrainer: Retrainer | None = None

    def release(self, reference: str) -> Release:
        """The published release that `reference` names.

        Raises:
            ProblemError: 422, when there is none.
        """
        with unprocessable("unknown-release"):
            return self.releases.resolve(reference).release


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
