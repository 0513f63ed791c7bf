"""Fixtures of the tests of the service as a process."""

from collections.abc import Iterator

import pytest

from tests.support.serving import Served


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service with a fleet, `plant`."""
    served = Served(tmp_path_factory.mktemp("service"))
    served.start()
    served.call("POST", "/fleets", {"name": "plant"})
    yield served
    served.stop()
