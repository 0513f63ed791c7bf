"""What is inside an image, as a CycloneDX bill of materials: `python tools/sbom.py IMAGE OUT.json`.

The image itself is asked: its dpkg for Debian's packages, its Python for distributions and their licenses. So
the bill names what is there, not what a build file wished for.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

RUN = "docker run --rm --network=none"
_DPKG = ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\n"]
_PYTHON = """
import importlib.metadata as m, json
print(json.dumps(sorted({
    (d.name, d.version, (d.metadata["License-Expression"] or "")) for d in m.distributions()
})))
"""


def bill(image: str, debian: str, python: str) -> str:
    """The bill as JSON.

    Args:
        image: its name, by digest where it has one.
        debian: lines of package, version and architecture, divided by tabs.
        python: a JSON list of (name, version, license expression or "").
    """
    name, _, version = image.partition("@") if "@" in image else image.rpartition(":")
    bom = Bom(components=[*_debian(debian), *_python(json.loads(python))])
    root = bom.metadata.component = Component(name=name, version=version, type=ComponentType.CONTAINER)
    bom.register_dependency(root, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def _debian(lines: str) -> Iterator[Component]:
    for line in lines.splitlines():
        name, version, architecture = line.split("\t")
        url = PackageURL("deb", "debian", name, version, {"arch": architecture})
        yield Component(name=name, version=version, purl=url, bom_ref=str(url))


def _python(found: Sequence[Sequence[str]]) -> Iterator[Component]:
    for name, version, license_ in found:
        url = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
        licenses = [DisjunctiveLicense(name=license_)] if license_ else []
        yield Component(name=name, version=version, purl=url, licenses=licenses, bom_ref=str(url))


def ask(run: str, image: str, *command: str) -> str:
    """What a command inside the image prints."""
    whole = [*shlex.split(run), f"--entrypoint={command[0]}", image, *command[1:]]
    done = subprocess.run(whole, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(whole)}\n{done.stderr[-2000:]}")
    return done.stdout


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", default=RUN, help=f"how containers are run [default: {RUN}]")
    given = parser.parse_args(arguments)
    debian = ask(given.run, given.image, *_DPKG)
    python = ask(given.run, given.image, "python", "-c", _PYTHON)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(bill(given.image, debian, python))
    print(f"{given.out}: {len(debian.splitlines())} Debian packages, {len(json.loads(python))} distributions")


if __name__ == "__main__":
    main(sys.argv[1:])
