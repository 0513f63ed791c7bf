"""The README's examples run as they are printed."""

import re
from pathlib import Path
from typing import Any

import pytest

from acclimate_device.agent import AgentConfig
from acclimate_device.errors import InputError
from acclimate_device.testing import GestureDevice, tiny_bundle

README = (Path(__file__).parents[3] / "device_sdk" / "README.md").read_text()


def test_the_python_examples_run(tmp_path: Path, monkeypatch) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name, data in tiny_bundle().items():
        (bundle / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    x, y = GestureDevice(0).example()
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        if "Forecaster" in example:  # the bundle here classifies, and that is said
            with pytest.raises(InputError, match="classification"):
                exec(example, {})
            continue
        names: dict[str, Any] = {"x": x, "y": y}
        exec(example, names)
        assert names["device"].predict_one(x) in ("circle", "shake", "tap")
    assert (tmp_path / "state" / "outbox").is_dir(), "closing reports what was open"


def test_the_agents_configuration_loads(tmp_path: Path) -> None:
    (config,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "device.toml"
    path.write_text(config)
    loaded = AgentConfig.load(path)
    assert loaded.attributes == {"model": "wrist-2"}
    assert str(loaded.state) == "/var/lib/acclimate"
