"""Builds the three images and runs them the way the chart does. Asked for by `make test-images`.

ACCLIMATE_IMAGE_BASE        the base image; without it debootstrap makes one of Debian's python3
ACCLIMATE_PODMAN_BUILD      more arguments of `podman build`, `--volume` of a pip.conf say
ACCLIMATE_IMAGES            those to build, by name (default: all three)
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = os.environ.get("ACCLIMATE_IMAGES", "rollout trainer gateway").split()
MIRROR = os.environ.get("ACCLIMATE_DEBIAN_MIRROR", "https://deb.debian.org/debian")
MB = 1_000_000
# Our own layers, without the base: what a node downloads at each release. Of the service's, 73 MB are numpy,
# which adds up what devices give to campaigns.
CEILING_MB = {"rollout": 330, "trainer": 3000, "gateway": 220}
WITHOUT = {
    "rollout": ["torch", "ray", "scipy", "onnxruntime"],
    "trainer": [],
    "gateway": ["torch", "ray", "mlflow", "acclimate", "pydantic"],
}
# What the chart's security context asks of the runtime, in podman's words.
LOCKED_DOWN = ["--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp", "--cap-drop=all"]
LOCKED_DOWN += ["--security-opt=no-new-privileges"]
HERE = ["--network=host", "--no-healthcheck", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("ACCLIMATE_TEST_IMAGES" not in os.environ, reason="asked for by make test-images"),
]


def podman(*arguments: str, runtime: bool = False) -> str:
    """Run podman; runs of containers use runc, which needs no systemd."""
    command = ["podman", *(["--runtime=runc"] if runtime and shutil.which("runc") else []), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


def size_mb(image: str) -> float:
    return float(json.loads(podman("image", "inspect", image))[0]["Size"]) / MB


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> str:
    """The base image: the one given, or Debian's own python3 in an otherwise minimal system."""
    if shutil.which("podman") is None:
        pytest.fail("no podman: sudo apt-get install podman runc debootstrap")
    if given := os.environ.get("ACCLIMATE_IMAGE_BASE"):
        return given
    if shutil.which("debootstrap") is None:
        pytest.fail("no base: set ACCLIMATE_IMAGE_BASE, or sudo apt-get install debootstrap and run as root")
    folder = tmp_path_factory.mktemp("base")
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, "bookworm", folder / "root", MIRROR],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(["tar", "-C", folder / "root", "-cf", folder / "root.tar", "."], check=True)
    (folder / "Containerfile").write_text("FROM scratch\nADD root.tar /\n")
    podman("build", "--isolation=chroot", "--quiet", "--tag=localhost/acclimate-base:test", str(folder))
    return "localhost/acclimate-base:test"


@pytest.fixture(scope="session", params=IMAGES)
def image(request, base) -> tuple[str, str]:
    """The name of one of the images and its tag, freshly built."""
    name, began = request.param, time.monotonic()
    tag = f"localhost/acclimate-{name}:test"
    more = shlex.split(os.environ.get("ACCLIMATE_PODMAN_BUILD", ""))
    arguments = ["--isolation=chroot", "--network=host", "--format=docker", f"--build-arg=BASE={base}"]
    podman("build", *arguments, *more, f"--file=helm/images/{name}.Containerfile", f"--tag={tag}", ".")
    whole, below = size_mb(tag), size_mb(base)
    took = time.monotonic() - began
    print(f"\n{tag}: {whole:.0f} MB, of which {whole - below:.0f} MB ours; built in {took:.0f} s")
    return name, tag


def test_it_is_as_small_as_promised(image, base):
    name, tag = image
    assert size_mb(tag) - size_mb(base) < CEILING_MB[name]


def test_it_runs_as_nobody_in_particular_on_a_read_only_root(image):
    _, tag = image
    program = "import os; print(os.getuid(), os.access('/opt', os.W_OK), os.access('/tmp', os.W_OK))"
    run = podman("run", "--rm", *HERE, *LOCKED_DOWN, "--entrypoint=python", tag, "-c", program, runtime=True)
    assert run == "65532 False True"


def test_it_holds_nothing_it_should_not(image):
    name, tag = image
    program = f"import importlib.util as u; print([m for m in {WITHOUT[name]} if u.find_spec(m)])"
    assert podman("run", "--rm", *HERE, "--entrypoint=python", tag, "-c", program, runtime=True) == "[]"


def test_it_says_when_it_is_healthy(image):
    _, tag = image
    config = json.loads(podman("image", "inspect", tag))[0]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["User"] == "65532:65532"


def test_its_bill_of_materials_names_what_is_inside(image, tmp_path):
    name, tag = image
    run = shlex.join(["podman", *(["--runtime=runc"] if shutil.which("runc") else []), "run", "--rm", *HERE])
    command = [sys.executable, "tools/sbom.py", tag, str(tmp_path / "bill.json"), "--run", run]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout.strip()}")
    found = {one["name"] for one in json.loads((tmp_path / "bill.json").read_text())["components"]}
    assert {"libc6", "acclimate-device" if name == "gateway" else "acclimate"} <= found


def test_its_main_command_answers(image):
    name, tag = image
    command = {
        "rollout": ["--help"],
        "trainer": ["acclimate", "--help"],
        "gateway": ["--help"],
    }[name]
    assert "usage" in podman("run", "--rm", *HERE, *LOCKED_DOWN, tag, *command, runtime=True).lower()


def test_the_trainer_serves_mlflow_and_has_what_kuberay_calls(image):
    name, tag = image
    if name != "trainer":
        pytest.skip("the trainer's own test")
    shell = "wget --version | head -1; mlflow --version; ray --version"
    found = podman("run", "--rm", *HERE, *LOCKED_DOWN, tag, "sh", "-c", shell, runtime=True)
    assert found.startswith("GNU Wget")
    assert "mlflow, version 3." in found
    assert "ray, version 2.60" in found
