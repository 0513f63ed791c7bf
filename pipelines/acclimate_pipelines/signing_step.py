"""The step from a registered version to a signed bundle that the service finds.

Where the repository and its keys are comes from the environment, so that no run shows a secret:
ACCLIMATE_TUF_DIRECTORY, ACCLIMATE_SIGNING_KEYS (key files or folders, separated by `:`) and
ACCLIMATE_KEY_PASSPHRASE; with ACCLIMATE_ARTIFACTS_URL bundles' files go to an object store.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from acclimate.bundle.export import write_bundle
from acclimate.bundle.registered import bundle_of
from acclimate.bundle.repository import publish, signers
from acclimate.errors import BundleError
from acclimate.registry import Registry
from acclimate_pipelines.step import step

REPOSITORY, KEYS = "ACCLIMATE_TUF_DIRECTORY", "ACCLIMATE_SIGNING_KEYS"
log = logging.getLogger(__name__)


@step
def export_and_sign(reference: str, folder: Path) -> str:
    """Export `NAME@VERSION` as a bundle into `folder` and publish it; gives the release, `NAME@VERSION`.

    Raises:
        BundleError: the version cannot be a bundle, a key or the repository is missing, or devices would not
            see it because the online key is not at hand.
    """
    repository, keys = _named(REPOSITORY, "the signed repository"), _named(KEYS, "the signing keys")
    bundle = bundle_of(Registry.open(), reference)
    write_bundle(bundle.files, folder)
    paths = tuple(Path(each) for each in keys.split(os.pathsep) if each)
    artifacts_url = os.environ.get("ACCLIMATE_ARTIFACTS_URL", "")
    done = publish(Path(repository), folder, signers(paths), datetime.now(UTC), artifacts_url=artifacts_url)
    if not done.visible:
        raise BundleError(
            f"{done.release.path} is signed but devices do not see it yet: let {KEYS} name online.pem too, "
            f"or run `acclimate repo refresh {repository}` and the step again"
        )
    log.info("published", extra={"release": f"{done.release.name}@{done.release.version}"})
    return f"{done.release.name}@{done.release.version}"


def _named(variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise BundleError(f"{variable} is not set: it names {what}")
    return value
