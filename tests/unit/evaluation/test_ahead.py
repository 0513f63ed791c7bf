"""Errors of a forecast by rows ahead, in the target's unit, and over those of what needs no model."""

import torch

from acclimate.evaluation.details import Words, details_of
from acclimate.tasks import Episodes, Examples


def test_errors_by_lead_and_target_by_hand() -> None:
    """Two leads of two targets: outputs run lead by lead."""
    y = torch.zeros(1, 2, 4)
    outputs = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [3.0, 2.0, 1.0, 0.0]]])
    query = Examples(torch.zeros(1, 2, 1, 1), y, torch.ones(1, 2))
    words = Words(targets=("a", "b"), scales=(10.0, 1.0), leads=(1, 6))
    found = details_of([outputs], [Episodes(query, query, ("t",))], words)
    assert found["ahead.1.a"] == 20.0
    assert found["ahead.1.b"] == 2.0
    assert found["ahead.6.a"] == 20.0
    assert found["ahead.6.b"] == 2.0
    assert found["mae.a"] == 20.0


def test_a_single_step_has_no_table() -> None:
    query = Examples(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1), torch.ones(1, 2))
    words = Words(targets=("a",), scales=(1.0,), leads=(1,))
    found = details_of([torch.ones(1, 2, 1)], [Episodes(query, query, ("t",))], words)
    assert set(found) == {"mae.a", "rmse.a"}
