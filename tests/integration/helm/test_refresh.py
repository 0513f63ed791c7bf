"""The CronJob that keeps the repository's signatures fresh does so with the one key it is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.helm.rendering import at

pytestmark = pytest.mark.slow


def acclimate(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "ACCLIMATE_HOME": str(folder)}
    command = [sys.executable, "-m", "acclimate", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)


def test_refresh_signs_anew_with_the_online_key_alone(external, tmp_path):
    pod = at(external, "CronJob/acclimate-refresh", "spec>jobTemplate>spec>template>spec")
    volume, keys, mounted = tmp_path / "volume", tmp_path / "keys", tmp_path / "mounted"
    made = acclimate(tmp_path, "repo", "init", volume / "tuf", "--keys", keys, "--unencrypted")
    assert made.returncode == 0, made.stderr
    secret = at({"pod": pod}, "pod", "volumes>keys>secret")
    mounted.mkdir()
    for item in secret["items"]:
        shutil.copy(keys / item["key"], mounted / item["path"])
        (mounted / item["path"]).chmod(secret["defaultMode"])
    shutil.rmtree(keys)
    arguments = [
        argument.replace("/var/lib/acclimate/repository", str(volume)).replace(
            "/etc/acclimate/keys", str(mounted)
        )
        for argument in pod["containers"][0]["args"]
    ]

    def version() -> int:
        return int(json.loads((volume / "tuf/metadata/timestamp.json").read_text())["signed"]["version"])

    before = version()
    due = acclimate(tmp_path, *arguments)
    assert due.returncode == 0, due.stderr
    assert version() == before, "nothing was due"
    forced = acclimate(tmp_path, *arguments, "--force")
    assert forced.returncode == 0, forced.stderr
    assert version() == before + 1
