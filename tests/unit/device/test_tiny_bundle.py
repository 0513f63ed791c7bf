"""The bundle inside the SDK is what the platform exports today."""

from dataclasses import replace

import pytest

from acclimate_device.protocol import MANIFEST, PARAMS, SANITY, Manifest, loads
from acclimate_device.testing import tiny_bundle


@pytest.mark.slow
def test_the_shipped_bundle_is_fresh() -> None:
    from safetensors.torch import load

    from tests.tiny_bundle import bundle_files

    shipped = tiny_bundle()
    params = {name.removeprefix("param."): tensor for name, tensor in load(shipped[PARAMS]).items()}
    expected = loads(Manifest, shipped[MANIFEST], 10**6).expected
    fresh = bundle_files(params, expected)
    # the exporter numbers its nodes by what ran before in the process, so graphs are compared by what they do
    assert fresh[SANITY] == shipped[SANITY], "run: python -m tests.tiny_bundle"
    described = [loads(Manifest, one[MANIFEST], 10**6) for one in (fresh, shipped)]
    assert replace(described[0], files=described[1].files, cost=described[1].cost) == described[1]


def test_the_shipped_bundle_is_tiny() -> None:
    assert sum(map(len, tiny_bundle().values())) < 16 * 1024
