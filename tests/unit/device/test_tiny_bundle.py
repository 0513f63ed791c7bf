"""The bundle inside the SDK is what the platform exports today."""

import pytest

from acclimate_device.protocol import FEATURES, LEARN, MANIFEST, PARAMS, Manifest, loads
from acclimate_device.testing import tiny_bundle


@pytest.mark.slow
def test_the_shipped_bundle_is_fresh() -> None:
    from safetensors.torch import load

    from tests.support.tiny_bundle import bundle_files

    shipped = tiny_bundle()
    params = {name.removeprefix("param."): tensor for name, tensor in load(shipped[PARAMS]).items()}
    expected = loads(Manifest, shipped[MANIFEST], 10**6).expected
    assert bundle_files(params, expected) == shipped, "run: python -m tests.support.tiny_bundle"


@pytest.mark.slow
def test_the_shipped_heads_have_the_graphs_of_today() -> None:
    from tests.support.tiny_bundle import closed_form

    shipped, fresh = tiny_bundle("closed-form"), closed_form(steps=1)
    for name in (FEATURES, LEARN):
        assert fresh[name] == shipped[name], "run: python -m tests.support.tiny_bundle"


def test_the_shipped_bundle_is_tiny() -> None:
    assert sum(map(len, tiny_bundle().values())) < 16 * 1024
    assert sum(map(len, tiny_bundle("closed-form").values())) < 24 * 1024
