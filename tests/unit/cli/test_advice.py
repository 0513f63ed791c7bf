"""What to do after a verdict: commands that can be copied, or a sentence."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from acclimate.cli.advice import Advice, advice_on
from acclimate.cli.main import cli
from acclimate.cli.options import tracking_option
from acclimate.evaluation import Verdict
from acclimate.training.recipe import Recipe

RECIPE = Recipe.model_validate({"name": "pumps", "data": {"source": "sinusoid"}})


def verdict(ship: Any, against: Any = None, devices: int = 60) -> Verdict:
    return Verdict(ship, "", None, against, 0.0, 0.0, 0.0, devices)


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (verdict("start"), "acclimate export pumps@3 -o bundle --tracking-uri 'sqlite:///a b.db'"),
        (
            verdict("record-more", devices=3),
            "acclimate recipes pumps@3 --tracking-uri 'sqlite:///a b.db' > pumps-3.yaml "
            "&& acclimate compare pumps-3.yaml",
        ),
        (
            verdict("joint", "joint"),
            "acclimate recipes pumps@3 --tracking-uri 'sqlite:///a b.db' > pumps-3.yaml "
            "&& acclimate train pumps-3.yaml --set",
        ),
    ],
)
def test_the_recipe_of_a_version_is_fetched_from_the_store_that_a_person_named(found, command: str) -> None:
    told: list[Advice | None] = []

    @click.command()
    @tracking_option
    def run(tracking_uri: str) -> None:
        told.append(advice_on(found, RECIPE, "pumps@3"))

    CliRunner().invoke(run, ["--tracking-uri", "sqlite:///a b.db"], catch_exceptions=False)
    assert told[0] is not None
    assert told[0].command is not None
    assert told[0].command.startswith(command)


def test_a_recipe_that_a_person_named_is_named_again() -> None:
    advice = advice_on(
        verdict("record-more", devices=3), RECIPE, "pumps@3", source="my pumps.yaml", changes=["seed=1"]
    )
    assert advice is not None
    assert advice.command == "acclimate compare 'my pumps.yaml' --set seed=1"


def test_what_no_bundle_holds_has_no_command() -> None:
    advice = advice_on(verdict("rival", "nearest"), RECIPE, "pumps@3")
    assert advice is not None
    assert advice.command is None
    assert "no bundle holds that" in advice.why
    assert advice_on(verdict("record-more"), RECIPE, "pumps@3") is None


def test_a_recipe_that_is_nowhere_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    told = CliRunner().invoke(cli, ["recipes", "no-such"])
    assert told.exit_code
    assert "NAME@REF prints that of a registered version" in str(told.exception or told.output)
