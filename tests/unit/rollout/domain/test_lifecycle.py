"""Random sequences of everything that can happen to a rollout; each seed replays one."""

import pytest

from tests.support.lifecycle_model import Life


def test_what_must_hold_holds_in_random_lives():
    for seed in range(1000):
        Life(seed).run()


@pytest.mark.slow
@pytest.mark.nightly
def test_what_must_hold_holds_in_ten_thousand_random_lives():
    for seed in range(10_000):
        Life(seed).run()
