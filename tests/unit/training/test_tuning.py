"""What `acclimate tune` refuses before it starts Ray."""

from pathlib import Path

import pytest

from acclimate.errors import TrainingError
from acclimate.training.recipe_file import load_recipe
from acclimate.training.tuning import Space, search


def test_a_learner_without_a_rate_is_not_tuned(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="neither a rate nor a number of steps: compare it"):
        search(load_recipe("wisdm"), Space(), 2, tmp_path, workers=1)
