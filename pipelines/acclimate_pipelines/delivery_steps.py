"""The steps from a registered version to devices: bundle, signature, rollout, and its outcome.

Where the signed repository, its keys and the service are comes from the environment, so that no run shows a
secret: ACCLIMATE_TUF_DIRECTORY, ACCLIMATE_SIGNING_KEYS (key files or folders, separated by `:`),
ACCLIMATE_KEY_PASSPHRASE, ACCLIMATE_URL and ACCLIMATE_TOKEN; with ACCLIMATE_ARTIFACTS_URL bundles' files go to
an object store.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acclimate.bundle.export import write_bundle
from acclimate.bundle.registered import bundle_of
from acclimate.bundle.repository import publish
from acclimate.cli.repo import signers
from acclimate.cli.service import ServiceClient, connect
from acclimate.errors import BundleError, RolloutError
from acclimate.registry import Registry
from acclimate_pipelines import pages
from acclimate_pipelines.step import step

REPOSITORY, KEYS = "ACCLIMATE_TUF_DIRECTORY", "ACCLIMATE_SIGNING_KEYS"
ENDED = ("done", "rolled_back", "aborted")
LOOK_S = 2.0
log = logging.getLogger(__name__)


@step
def export_and_sign(reference: str, folder: Path) -> str:
    """Export `NAME@VERSION` as a bundle into `folder` and publish it; gives the release, `NAME:VERSION`.

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
    log.info("event=published release=%s:%d", done.release.name, done.release.version)
    return f"{done.release.name}:{done.release.version}"


@step
def roll_out(fleet: str, release: str, plan: Mapping[str, Any]) -> str:
    """Start a rollout of `release`; gives its id.

    A fleet that runs nothing yet has nothing to compare with: the release becomes its baseline and the id is
    empty.
    """
    service = connect()
    if not service.get(f"/fleets/{fleet}")["baselines"]:
        service.put(f"/fleets/{fleet}/baseline", {"release": release, "target": ""})
        log.info("event=baseline-set fleet=%s release=%s", fleet, release)
        return ""
    made = service.post(f"/fleets/{fleet}/rollouts", {**plan, "release": release})
    identity = str(made["rollout"]["id"])
    service.post(f"/rollouts/{identity}/start")
    log.info("event=rollout-started fleet=%s release=%s rollout=%s", fleet, release, identity)
    return identity


@step
def watch(rollout: str, hours: float, page: Path) -> str:
    """Follow a rollout to its end and write what was decided; gives its state.

    After `hours` it ends with the state of that moment: the service goes on by itself.

    Raises:
        RolloutError: the rollout was rolled back or aborted.
    """
    if not rollout:
        page.write_text("The release became the fleet's baseline: there was no rollout.\n")
        return "baseline"
    service, until, told = connect(), time.monotonic() + hours * 3600, ""
    found, decisions = _look(service, rollout)
    while True:
        state = str(found["rollout"]["state"])
        reason = decisions[0]["reason"] if decisions else "nothing was decided yet"
        if state != told:
            told = state
            log.info("event=rollout rollout=%s state=%s detail=%r", rollout, state, reason)
        if state in ENDED or time.monotonic() >= until:
            break
        time.sleep(LOOK_S)
        try:
            found, decisions = _look(service, rollout)
        except RolloutError as error:  # it was there before: a rollout outlives restarts of the service
            log.warning("event=waiting rollout=%s detail=%r", rollout, str(error))
    page.write_text(pages.rollout(found, decisions))
    if state in ("rolled_back", "aborted"):
        raise RolloutError(f"rollout {rollout} was {state.replace('_', ' ')}: {reason}")
    return state


def _look(service: ServiceClient, rollout: str) -> tuple[Any, Any]:
    return service.get(f"/rollouts/{rollout}"), service.get(f"/rollouts/{rollout}/decisions")


def _named(variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise BundleError(f"{variable} is not set: it names {what}")
    return value
