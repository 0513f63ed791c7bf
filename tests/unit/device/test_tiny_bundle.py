"""The bundle inside the SDK is what the platform exports today."""

import pytest

from acclimate_device.protocol import MANIFEST, PARAMS, Manifest, loads
from acclimate_device.testing import tiny_bundle


@pytest.mark.slow
def test_the_shipped_bundle_is_fresh() -> None:
    from safetensors.torch import load

    from tests.support.tiny_bundle import bundle_files

    shipped = tiny_bundle()
    params = {name.removeprefix("param."): tensor for name, tensor in load(shipped[PARAMS]).items()}
    expected = loads(Manifest, shipped[MANIFEST], 10**6).expected
    assert bundle_files(params, expected) == shipped, "run: python -m tests.support.tiny_bundle"


def test_the_shipped_bundle_is_tiny() -> None:
    assert sum(map(len, tiny_bundle().values())) < 16 * 1024
