"""The tutorials, walked: each ```bash block of a page is run as it stands, page after page, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.serving import ADMIN, Served
from tests.unit.helm.rendering import CHART, leaves

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = str(DOCS.parent / "device_sdk" / "examples" / "pump-monitor" / "src")
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An empty folder with the commands that an installation puts on the path."""
    folder = tmp_path_factory.mktemp("newcomer") / "pumps"
    (folder / "bin").mkdir(parents=True)
    modules = {
        "acclimate": "acclimate",
        "acclimate-device": "acclimate_device.agent.main",
        "pump-monitor": "pump_monitor.main",
    }
    for name, module in modules.items():
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        command.chmod(0o755)
    return folder


def walk(page: str, folder: Path, **environment: str) -> str:
    script = "\n".join(BLOCK.findall((DOCS / page).read_text()))
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("ACCLIMATE_", "RAY_"))
    }
    inherited.pop("MLFLOW_TRACKING_URI", None)
    python_path = os.pathsep.join(filter(None, (*sys.path, EXAMPLE)))
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder,
        env=inherited | {"PATH": path, "PYTHONPATH": python_path, "HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


def test_train_then_read_then_put_it_on_a_device_and_write_an_application(folder):
    trained = walk("tutorials/train.md", folder)
    assert "kind: classification" in trained
    assert "Registered pumps version 1" in trained

    walk("tutorials/experiments.md", folder)
    assert "content_hash" in (folder / "versions.json").read_text()
    assert (folder / "curves.png").stat().st_size > 10_000

    service = Served(folder / "acclimate-home")
    service.start()
    try:
        signed_in = {"ACCLIMATE_URL": service.url, "ACCLIMATE_TOKEN": ADMIN}
        shown = walk("tutorials/device.md", folder, **signed_in)
        applied = walk("how-to/device-application.md", folder, **signed_in)
    finally:
        service.stop()
    right, windows = map(int, re.search(r"(\d+) of (\d+) windows right", shown).groups())
    assert right > windows / 3, "better than guessing one of three states"
    assert any((folder / "state").rglob("*params*")), "the agent fetched and staged the bundle"

    half, last = map(int, re.search(r"of the first (\d+) windows, (\d+) of the last", applied).groups())
    assert last > half * 2 / 3, "it learned this pump from its labels"
    assert "'version': 'pumps/1'" in applied, "it runs what the agent staged"
    assert re.search(r"reports sent\s+[1-9]", applied), "the agent handed in what the application noted"


def test_the_deployment_page_names_files_and_values_that_exist():
    text = (DOCS / "tutorials" / "deploy.md").read_text()
    for name in re.findall(r"helm/acclimate/(\S+\.yaml)", text):
        assert (CHART / name).is_file(), name
    known = {key for key, _ in leaves(yaml.safe_load((CHART / "values.yaml").read_text()))}
    named = set(re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)`", text)) - {"online.pem"}
    assert named
    assert named <= known, named - known
    secrets = {
        line.strip()
        for line in (CHART / "values-small.yaml").read_text().splitlines()
        if "create secret" in line
    }
    for line in secrets:
        assert line.removeprefix("#").strip() in text
