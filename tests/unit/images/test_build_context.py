"""Every file that an image's Containerfile copies is admitted by the ignore file that builders read."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONTAINERFILES = sorted((ROOT / "helm" / "images").glob("*.Containerfile"))


def admitted(path: str, lines: list[str]) -> bool:
    """The rule of .dockerignore: the last line that matches the path or a folder above it decides."""
    verdict = True
    for line in lines:
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(/.*)?", path):
            verdict = line.startswith("!")
    return verdict


def copied(containerfile: Path) -> list[str]:
    """The sources of each COPY that reads the build's context."""
    text = containerfile.read_text().replace("\\\n", " ")
    lines = re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def ignore_lines() -> list[str]:
    text = (ROOT / ".dockerignore").read_text()
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("containerfile", CONTAINERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_enters_its_build(containerfile):
    sources = copied(containerfile)
    assert sources, f"{containerfile.name} copies nothing"
    for source in sources:
        assert (ROOT / source).exists(), f"{containerfile.name} copies {source}, which is not there"
        assert admitted(source, ignore_lines()), f"{containerfile.name} copies {source}, which is ignored"


def test_every_package_that_the_build_looks_for_is_copied():
    """`packages.find` of pyproject.toml names folders: an image without one of them cannot be built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = project["tool"]["setuptools"]["packages"]["find"]["where"]
    for containerfile in CONTAINERFILES:
        if "pyproject.toml" in copied(containerfile):
            assert set(folders) <= set(copied(containerfile)), containerfile.name


def test_tests_data_and_version_control_stay_outside():
    for path in [
        "tests/conftest.py",
        ".git/config",
        "bench/polls.py",
        "platform/acclimate/__pycache__/x.pyc",
    ]:
        assert not admitted(path, ignore_lines()), path


def test_the_builders_own_ignore_files_do_not_hide_this_one():
    """podman reads .containerignore first: two files would let one of the builders go blind."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert not [path for path in listed if path.endswith((".containerignore", "Containerfile.dockerignore"))]
