from pathlib import Path

import pytest

from acclimate.errors import SettingsError
from acclimate.home import home
from acclimate.rollout.settings import ServiceSettings


def test_the_defaults_live_under_home_and_listen_on_loopback(tmp_path):
    settings = ServiceSettings.from_environment({"ACCLIMATE_HOME": str(tmp_path)})
    assert settings.database == f"sqlite:///{tmp_path}/rollout.db"
    assert settings.key_file == tmp_path / "service-key.pem"
    assert settings.url == "http://127.0.0.1:8080"
    assert not settings.exposed_in_clear


def test_the_environment_sets_and_options_win():
    environ = {
        "ACCLIMATE_PORT": "9000",
        "ACCLIMATE_POLL_INTERVAL_S": "1.5",
        "ACCLIMATE_TUF_DIRECTORY": "/t",
    }
    settings = ServiceSettings.from_environment(environ, port=9001, host=None)
    assert (settings.port, settings.host, settings.poll_interval_s) == (9001, "127.0.0.1", 1.5)
    assert settings.tuf == Path("/t")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ACCLIMATE_PORT": "many"}, "ACCLIMATE_PORT is 'many'"),
        ({"ACCLIMATE_TLS_KEY": "key.pem"}, "ACCLIMATE_TLS_CERTIFICATE"),
        ({"ACCLIMATE_LOG_FORMAT": "xml"}, "'xml'"),
        ({"ACCLIMATE_LOG_LEVEL": "loud"}, "ACCLIMATE_LOG_LEVEL is 'loud'.*'debug'"),
        ({"ACCLIMATE_PORT": "99999999"}, "ACCLIMATE_PORT is '99999999'.*65535"),
        ({"ACCLIMATE_POLL_INTERVAL_S": "-5"}, "ACCLIMATE_POLL_INTERVAL_S is '-5'.* 1"),
        ({"ACCLIMATE_TICK_S": "nan"}, "ACCLIMATE_TICK_S is 'nan'"),
        ({"ACCLIMATE_TICK_S": "31"}, "ACCLIMATE_TICK_S is '31'.*30"),  # readiness asks for a look a minute
        ({"ACCLIMATE_PUBLIC_URL": "fleet.example"}, "https://host"),
        ({"ACCLIMATE_PUBLIC_URL": "https://fleet.example//evil.example"}, "https://host"),
        ({"ACCLIMATE_PUBLIC_URL": "https://fleet.example/api/"}, "has a path /api itself"),
        ({"ACCLIMATE_PUBLIC_URL": "https://fleet.example/device/x"}, "has a path /device itself"),
        ({"ACCLIMATE_PORT": "0", "ACCLIMATE_TICK_S": "x"}, "ACCLIMATE_PORT.*; ACCLIMATE_TICK_S"),
    ],
)
def test_a_wrong_setting_is_named(environ, message):
    with pytest.raises(SettingsError, match=message):
        ServiceSettings.from_environment(environ)


def test_an_empty_variable_is_one_that_is_not_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCLIMATE_HOME", "")
    settings = ServiceSettings.from_environment({"ACCLIMATE_PORT": "", "ACCLIMATE_HOME": ""})
    assert settings.port == 8080
    assert settings.home == home() == tmp_path / "acclimate-home"


def test_a_home_is_found_from_a_folder_below_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ACCLIMATE_HOME", raising=False)
    (tmp_path / "acclimate-home").mkdir()
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src" / "deep")
    assert home() == tmp_path / "acclimate-home"


def test_other_hosts_without_tls_are_exposed():
    assert ServiceSettings(host="0.0.0.0").exposed_in_clear
    assert not ServiceSettings(host="0.0.0.0", public_url="https://fleet.example").exposed_in_clear
    assert not ServiceSettings(host="0.0.0.0", tls_certificate="c", tls_key="k").exposed_in_clear
