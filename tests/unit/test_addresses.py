"""Wrong addresses at every door: told by name, before anybody is asked, and without their password."""

from __future__ import annotations

import pytest

from acclimate.addresses import parts_of
from acclimate.diagnosis import configuration, diagnose
from acclimate.errors import RegistryError, RolloutError, SettingsError, TrainingError
from acclimate.home import home
from acclimate.registry import Registry
from acclimate.registry.location import locate
from acclimate.rollout.settings import ServiceSettings
from acclimate.rollout.store import open_store
from acclimate.training.ray_connection import connected

WRONG = [
    "http://[::1",
    "http://ada:hidden@h:port",
    "http://ada:hidden/hidden@h",
    "http://h:99999",
    "http://h/ x",
    "http://h\x00",
    "http://[x]/",
]


@pytest.mark.parametrize("address", WRONG)
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(SettingsError, match=r"SETTING .* is no address") as raised:
        parts_of(address, "SETTING")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("address", WRONG)
def test_doctor_finds_it_in_every_variable(address: str) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "ACCLIMATE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if "\x00" not in address:  # no variable can hold one
            found = list(diagnose(configuration({name: address, "ACCLIMATE_TRACES": "otlp"}, None)))
            assert any(one.level == "error" for one in found), name
            assert not any("hidden" in one.found for one in found)


@pytest.mark.parametrize("address", WRONG)
def test_registry_and_cluster_refuse_it(address: str) -> None:
    with pytest.raises(RegistryError, match="is no address"):
        locate(address)
    with pytest.raises(TrainingError, match="is no address"), connected(address.replace("http", "ray"), 1):
        pass


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_registry_in_memory_is_refused(uri: str) -> None:
    with pytest.raises(RegistryError, match="would be lost"):
        locate(uri)


@pytest.mark.parametrize("uri", ["postgresql://ada:hidden@127.0.0.1:1/x", "mysql+pymysql://127.0.0.1:1/x"])
def test_a_registrys_database_that_does_not_answer_is_told_at_once(uri: str) -> None:
    with pytest.raises(RegistryError, match="no database answers") as raised:
        Registry.open(uri)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("public_url", address) for address in WRONG[:3]]
    + [("oidc_issuer", address) for address in ("nonsense", "http://elsewhere.example", "https://[x")]
    + [("trusted_proxies", value) for value in ("300.1.1.1", "10.0.0.0/99", "proxy.example", "127.0.0.1,x")]
    + [("home", "~nobody-of-that-name/x")],
)
def test_the_service_refuses_what_it_could_not_use(name: str, value: str) -> None:
    with pytest.raises(SettingsError):
        ServiceSettings.from_environment(
            {"ACCLIMATE_OIDC_CLIENT_ID": "x", "ACCLIMATE_OIDC_CLIENT_SECRET": "y"}, **{name: value}
        )


def test_a_home_of_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", "~nobody-of-that-name/x")
    with pytest.raises(SettingsError, match="nobody-of-that-name"):
        home()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://[::1",
        "postgresql://h:port/x",
        "postgresql://ada:hid@den@127.0.0.1:1/x",
        "postgres://ada:hidden@127.0.0.1:1/x",
        "postgresql+asyncpg://ada:hidden@127.0.0.1:1/x",
        " postgresql://ada:hidden@127.0.0.1:1/x?sslmode=nonsense\n",
        "sqlite+aiosqlite://",
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(url: str) -> None:
    with pytest.raises(RolloutError) as raised:
        open_store(url)
    assert not any(part in str(raised.value) for part in ("hidden", "den@"))
