from pathlib import Path

import pytest
from sqlalchemy import make_url

from acclimate.addresses import without_password
from acclimate.errors import RegistryError
from acclimate.registry.location import locate


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_embedded_store_is_the_default(tmp_path: Path) -> None:
    location = locate()
    assert location.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert location.artifact_root == f"{tmp_path}/artifacts"
    assert not location.is_server


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment:5000")
    assert locate().tracking_uri == "http://from-environment:5000"
    assert locate("https://by-option").tracking_uri == "https://by-option"
    assert locate("https://by-option").is_server


@pytest.mark.parametrize("uri", ["mlflow.db", "./mlruns", "ftp://host"])
def test_an_unusable_uri_is_named_with_an_example(uri: str) -> None:
    with pytest.raises(RegistryError, match=f"{uri}.*for example http://"):
        locate(uri)


def test_a_password_is_never_printed() -> None:
    assert without_password("postgresql://me:s3cret@db/mlflow") == "postgresql://me:***@db/mlflow"
    assert without_password("postgresql://me@db/mlflow") == "postgresql://me@db/mlflow"
    assert without_password("me:s3@cret@db/mlflow") == "me:***@db/mlflow"
    assert without_password("https://h/p?x=1&sslpassword=s3@c:t&y=2") == "https://h/p?x=1&sslpassword=***&y=2"
    assert without_password("https://host:5000") == "https://host:5000"


@pytest.mark.parametrize("name", ["what?a=b", "per%41cent", "ha#sh", "a b'c", "ü-日本"])
def test_the_embedded_store_lies_in_its_home_whatever_that_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / name))
    assert make_url(locate().tracking_uri).database == str(tmp_path / name / "mlflow.db")


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blanks_around_an_address_are_none_of_it(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{blank}http://here:5000{blank}")
    assert locate().tracking_uri == "http://here:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", blank)
    assert locate().tracking_uri.startswith("sqlite:///")


def test_a_store_in_a_folder_that_is_not_there_is_a_slip_and_makes_nothing(tmp_path: Path) -> None:
    assert locate(f"sqlite:///{tmp_path}/mine.db").tracking_uri == f"sqlite:///{tmp_path}/mine.db"
    with pytest.raises(RegistryError, match=r"no folder .*/absent is there: make it, or check the name"):
        locate(f"sqlite:///{tmp_path}/absent/mlflow.db")
    assert list(tmp_path.iterdir()) == []
