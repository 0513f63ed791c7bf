"""What a release is made of, as far as it can be known without building it."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

import acclimate

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("release", ROOT / "tools" / "release.py")
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)


def test_the_version_has_one_source_and_the_others_follow():
    assert release.version() == acclimate.__version__
    assert release.others() == {path: {acclimate.__version__} for path in release.FOLLOWERS}


def test_setting_a_version_reaches_every_place(tmp_path, monkeypatch):
    for path in [release.OWN[0], *release.FOLLOWERS]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    monkeypatch.setattr(release, "ROOT", tmp_path)
    release.set_version("7.8.9")
    assert release.version() == "7.8.9"
    assert release.others() == {path: {"7.8.9"} for path in release.FOLLOWERS}


def test_the_change_log_is_cut_and_nothing_is_lost():
    before = "# Changelog\n\n## Unreleased\n\n- one\n\n## 0.1.0, 2026-01-01\n\n- zero\n"
    after = release.cut(before, "0.2.0", "2026-12-01")
    assert re.findall(r"^## .*$", after, re.MULTILINE) == [
        "## Unreleased",
        "## 0.2.0, 2026-12-01",
        "## 0.1.0, 2026-01-01",
    ]
    assert after.index("0.2.0") < after.index("- one") < after.index("0.1.0") < after.index("- zero")
    with pytest.raises(SystemExit, match="nothing to release"):
        release.cut(after, "0.3.0", "2026-12-02")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_release_is_rehearsed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["release.py", str(tmp_path / "out")])
    release.main()
    made = {path.name for path in (tmp_path / "out").iterdir()}
    stem = f"-{acclimate.__version__}"
    assert {f"acclimate{stem}.tar.gz", f"acclimate_device{stem}.tar.gz", "CHANGELOG.md", "SHA256SUMS"} <= made
    assert len([name for name in made if name.endswith(".whl")]) == 2


def test_workflows_run_commands_that_make_knows():
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    settings = set(re.findall(r"^([A-Z]+) \?=", makefile, re.MULTILINE))
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        for step in (step for job in jobs for step in job["steps"]):
            for line in step.get("run", "").splitlines():
                if line.startswith("make "):
                    words = line.split()[1:]
                    assert {word for word in words if "=" not in word} <= known, f"{path.name}: {line}"
                    assert {word.split("=")[0] for word in words if "=" in word} <= settings


def test_a_file_that_the_release_pushes_is_one_of_those_that_were_rehearsed():
    made = [
        f"acclimate-1.2.3{ending}" for ending in (".tar.gz", "-py3-none-any.whl", ".chart.tgz", ".docs.tgz")
    ]
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    pushed = re.findall(r"release/(\S*\*\S*)", workflow)
    assert pushed
    for pattern in pushed:
        assert len(fnmatch.filter(made, pattern)) == 1, pattern
