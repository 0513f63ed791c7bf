from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def home_of_the_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One registry for all tests of a file: to make one takes seconds."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("ACCLIMATE_HOME", str(tmp_path_factory.mktemp("home")))
        changed.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield
