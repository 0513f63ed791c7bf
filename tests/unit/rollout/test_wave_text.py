import pytest

from acclimate.errors import RolloutError
from acclimate.rollout.wave_text import parse_waves, write_waves


@pytest.mark.parametrize("text", ["1%:1h, 10%:6h, 50%:1d!", "20:30min, 40%:90s", "2.5%:0d"])
def test_waves_are_written_as_they_are_read(text: str):
    assert write_waves(parse_waves(text)) == text


@pytest.mark.parametrize("text", ["lots", "1.5:1h", "10%:1y"])
def test_what_does_not_read_is_named(text: str):
    with pytest.raises(RolloutError, match=text):
        parse_waves(text)
