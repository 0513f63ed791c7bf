"""A real builder reads the ignore file and copies, for each image, what version control has and nothing else.

Building the images whole takes minutes and a base image: `make test-images`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.images.test_build_context import CONTAINERFILES, ROOT, copied

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("buildah") is None, reason="needs buildah: make system-packages"),
    pytest.mark.skipif(os.getuid() != 0, reason="buildah builds without user namespaces only for root"),
]


@pytest.mark.parametrize("containerfile", CONTAINERFILES, ids=lambda path: path.stem)
def test_an_image_gets_every_file_it_copies_and_no_other(containerfile: Path, tmp_path: Path) -> None:
    sources = copied(containerfile)
    steps = ["FROM scratch", *(f"COPY {source} /{source}" for source in sources)]
    (tmp_path / "Containerfile").write_text("\n".join(steps))
    built = tmp_path / "built"
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
    build = ["build", "--isolation=chroot", "--layers=false", "--quiet", f"--output=type=local,dest={built}"]
    command = ["buildah", *storage, *build, "--file", tmp_path / "Containerfile", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *sources],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()}
    found = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    assert found == expected
