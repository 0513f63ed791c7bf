"""The folder of everything: made for its owner, and otherwise left as it is."""

import pytest

from acclimate.errors import SettingsError
from acclimate.home import home, made_home


def test_a_home_that_is_made_is_its_owners_alone_and_one_that_is_stays(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "deep" / "home"))
    assert made_home() == home()
    assert home().stat().st_mode & 0o777 == 0o700
    home().chmod(0o755)
    assert made_home().stat().st_mode & 0o777 == 0o755


def test_a_home_that_cannot_be_made_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCLIMATE_HOME", "/proc/acclimate/home")
    with pytest.raises(SettingsError, match=r"/proc/acclimate/home cannot be made .*name another place"):
        made_home()
