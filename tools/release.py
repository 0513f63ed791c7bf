"""A release to local artifacts: `python tools/release.py OUT` rehearses everything but the publishing.

The version is read from one place, `acclimate.__version__`. Both distributions are built as sdists, wheels
are built from those alone, and each is installed in a fresh environment and run from another folder, so that
what works only in the checkout is found here. Beside them: the chart, the pages of this version, the
change log as it will read, and sums.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {"acclimate-device": ROOT / "device_sdk", "acclimate": ROOT}
OWN = ("platform/acclimate/__init__.py", r'__version__ = "([^"]+)"')
# Where the version stands too, as a pattern with one group: files of formats that cannot import it.
FOLLOWERS = {
    "device_sdk/acclimate_device/__init__.py": r'__version__ = "([^"]+)"',
    "helm/acclimate/Chart.yaml": r'^(?:version: |appVersion: | +image: acclimate-\w+:)"?([0-9][^"\s]*)"?$',
    "helm/images/rollout.Containerfile": r"-t acclimate-rollout:(\S+)",
    "helm/images/trainer.Containerfile": r"-t acclimate-trainer:(\S+)",
    "helm/images/gateway.Containerfile": r"-t acclimate-gateway:(\S+)",
    ".github/workflows/cluster.yml": r"acclimate-\$name:([0-9]\S+)",
    "pipelines/acclimate_pipelines/components.py": r'IMAGE = "acclimate-trainer:([^"]+)"',
}


def version() -> str:
    """The version of this release."""
    return re.findall(OWN[1], (ROOT / OWN[0]).read_text("utf-8"))[0]


def others() -> dict[str, set[str]]:
    """The versions that stand elsewhere, by file."""
    return {
        path: set(re.findall(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE))
        for path, pattern in FOLLOWERS.items()
    }


def set_version(new: str) -> None:
    """Write the version of the next release wherever one stands."""
    for path, pattern in (OWN, *FOLLOWERS.items()):
        file = ROOT / path
        text = file.read_text("utf-8")
        text = re.sub(pattern, lambda match: match[0].replace(match[1], new), text, flags=re.MULTILINE)
        file.write_text(text, "utf-8")


def cut(changelog: str, new: str, day: str) -> str:
    """The change log with what was unreleased under this version, and an empty place for what comes.

    Raises:
        SystemExit: nothing is unreleased.
    """
    head, heading, rest = changelog.partition("## Unreleased\n")
    unreleased = rest.partition("\n## ")[0].strip()
    if not heading or not unreleased:
        raise SystemExit("CHANGELOG.md has nothing under `## Unreleased`: there is nothing to release")
    return f"{head}## Unreleased\n\n## {new}, {day}\n{rest}"


def rehearse(out: Path) -> None:
    """Build, install and run everything; what a person would publish is then in `out`."""
    if wrong := {path: found for path, found in others().items() if found != {version()}}:
        raise SystemExit(f"not version {version()}: {wrong}; run python tools/release.py --set {version()}")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "CHANGELOG.md").write_text(
        cut((ROOT / "CHANGELOG.md").read_text("utf-8"), version(), datetime.now(UTC).strftime("%Y-%m-%d"))
    )
    wheels = [build(name, folder, out) for name, folder in DISTRIBUTIONS.items()]
    chart(out)
    pages(out)
    with tempfile.TemporaryDirectory() as elsewhere:
        try_out(Path(elsewhere), wheels)
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.iterdir())
    )
    (out / "SHA256SUMS").write_text(sums)
    print(f"\nversion {version()} is whole in {out}:\n{sums}\nRELEASE.md says how it is published")


def build(name: str, folder: Path, out: Path) -> Path:
    """The sdist of a distribution, and its wheel built from that sdist alone."""
    print(f"building {name}", flush=True)
    with tempfile.TemporaryDirectory() as clean:
        copy = Path(clean) / "source"
        listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=folder).split(
            "\0"
        )
        for path in filter(None, listed):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / path, copy / path)
        run(
            sys.executable,
            "-m",
            "build",
            "--quiet",
            "--no-isolation",
            "--outdir",
            str(out),
            str(copy),
            cwd=copy,
        )
    stem = f"{name.replace('-', '_')}-{version()}"
    assert (out / f"{stem}.tar.gz").is_file(), f"no sdist of {name}"
    return next(out.glob(f"{stem}-*.whl"))


def chart(out: Path) -> None:
    """The chart as `helm package` makes it."""
    with tarfile.open(out / f"acclimate-{version()}.chart.tgz", "w:gz") as archive:
        archive.add(ROOT / "helm" / "acclimate", "acclimate")


def pages(out: Path) -> None:
    """The documentation of this version, to be put beside that of the others."""
    with tempfile.TemporaryDirectory() as folder:
        sphinx = (sys.executable, "-m", "sphinx", "-q", "-W", "-d", f"{folder}/trees")
        run(*sphinx, str(ROOT / "docs"), f"{folder}/html")
        with tarfile.open(out / f"acclimate-{version()}.docs.tgz", "w:gz") as archive:
            archive.add(f"{folder}/html", version())


def try_out(elsewhere: Path, wheels: list[Path]) -> None:
    """Install each wheel alone in a fresh environment and run its commands from a folder of their own."""
    device, platform = map(str, wheels)
    bare = ("python", "-m", "acclimate_device.protocol", ".")
    for name, given, commands in (
        ("device", [device], [bare]),
        ("gateway", [f"{device}[gateway]"], [bare, ("acclimate-device", "--help")]),
        ("platform", [device, platform], [("acclimate", "--version"), ("acclimate", "doctor", "--json")]),
    ):
        home = elsewhere / name
        venv.create(home, with_pip=True)
        print(f"a fresh environment with {' and '.join(Path(each).name for each in given)}", flush=True)
        pinned = ("--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"))
        run(str(home / "bin" / "pip"), "install", *pinned, *given)
        for command in commands:
            print(f"  {' '.join(command)}", flush=True)
            said = run(str(home / "bin" / command[0]), *command[1:], cwd=home)
            if "--version" in command:
                assert version() in said, said


def run(*command: str, cwd: Path | None = None) -> str:
    """What a command says; one that fails ends the rehearsal with what it said."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ACCLIMATE"))
    }
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=plain)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "out" / "release")
    parser.add_argument("--set", metavar="VERSION", help="write this version wherever one stands, and stop")
    options = parser.parse_args()
    if options.set:
        set_version(options.set)
    else:
        rehearse(options.out)


if __name__ == "__main__":
    main()
