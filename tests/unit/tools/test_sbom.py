"""An image's bill of materials is valid CycloneDX and names what the image said it holds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("sbom", ROOT / "tools" / "sbom.py")
sbom = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sbom)

DEBIAN = "libc6\t2.36-9+deb12u10\tamd64\nopenssl\t3.0.17-1~deb12u2\tamd64\n"
PYTHON = json.dumps([["PyYAML", "6.0.3", "MIT"], ["tuf", "6.0.0", ""], ["odd_name", "1+local", "Apache-2.0"]])


@pytest.mark.parametrize(
    ("image", "name", "version"),
    [
        ("registry:5000/a/rollout@sha256:ab", "registry:5000/a/rollout", "sha256:ab"),
        ("localhost/rollout:0.1.0", "localhost/rollout", "0.1.0"),
    ],
)
def test_the_bill_is_valid_and_whole(image: str, name: str, version: str) -> None:
    text = sbom.bill(image, DEBIAN, PYTHON)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    root = document["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("container", name, version)
    assert {one["purl"] for one in document["components"]} == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64",
        "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64",
        "pkg:pypi/pyyaml@6.0.3",
        "pkg:pypi/tuf@6.0.0",
        "pkg:pypi/odd-name@1%2Blocal",
    }


def test_what_is_asked_of_an_image_works_where_this_test_runs() -> None:
    """The same two commands; the image's own are asked by `make test-images`."""
    debian = subprocess.run(sbom._DPKG, capture_output=True, text=True).stdout
    python = subprocess.run([sys.executable, "-c", sbom._PYTHON], capture_output=True, text=True)
    components = json.loads(sbom.bill("here:1", debian, python.stdout))["components"]
    assert {"cyclonedx-python-lib", "acclimate"} <= {one["name"] for one in components}


def test_a_release_signs_each_image_by_digest_with_its_bill() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    images = release["jobs"]["images"]
    built = {path.name.partition(".")[0] for path in (ROOT / "helm" / "images").glob("*.Containerfile")}
    assert set(images["strategy"]["matrix"]["name"]) == built
    script = "".join(step.get("run", "") for step in images["steps"])
    for part in ('image="$REGISTRY/acclimate-$NAME@$DIGEST"', 'cosign sign --yes "$image"', "tools/sbom.py"):
        assert part in script
    assert release["permissions"] == {}
    assert not [name for name, job in release["jobs"].items() if "permissions" not in job]
