"""The chart and the service call each setting by the same name, and know of the same ones."""

from __future__ import annotations

import pytest
import yaml

from acclimate.rollout.settings import ServiceSettings
from acclimate.settings import PREFIX
from tests.unit.helm.rendering import CHART, PROFILES, at, environment, merged

SETTINGS = {PREFIX + name.upper() for name in ServiceSettings.model_fields}
IN_VALUES = yaml.safe_load((CHART / "values.yaml").read_text())["rollout"]["settings"]
# Settings for which the chart has another default than a service started by hand.
CHOSEN = {"log_format": "json"}


def rollout_environment(render, values):
    return environment(
        at(render(values), "Deployment/acclimate-rollout", "spec>template>spec>containers>rollout")
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_the_service_knows_every_setting_that_the_chart_gives_it(profile, render):
    given = {name for name in rollout_environment(render, PROFILES[profile]) if name.startswith(PREFIX)}
    assert given <= SETTINGS
    migration = "spec>template>spec>containers>migrate"
    job = at(render(PROFILES["minimal"]), "Job/acclimate-migration", migration)
    assert {name for name in environment(job) if name.startswith(PREFIX)} <= SETTINGS


def test_every_setting_of_the_service_can_be_given_by_the_chart(render):
    secrets = {"adminToken": {"existingSecret": "admin"}, "oidcClient": {"existingSecret": "sso"}}
    everything = merged(PROFILES["everything"], {"rollout": secrets})
    assert set(rollout_environment(render, everything)) >= SETTINGS


def test_defaults_in_the_values_are_those_of_the_service():
    defaults = {name: field.default for name, field in ServiceSettings.model_fields.items()}
    assert {name: defaults[name] for name in IN_VALUES} | CHOSEN == IN_VALUES


def test_the_service_reads_what_the_chart_writes(render):
    plain = {
        name: value
        for name, value in rollout_environment(render, PROFILES["everything"]).items()
        if isinstance(value, str)
    }
    settings = ServiceSettings.from_environment(plain)
    expected = IN_VALUES | {"trusted_proxies": "10.0.0.0/8"}
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.public_url == "https://fleet.example.com"
    assert settings.database.startswith("postgresql+psycopg://acclimate@")
