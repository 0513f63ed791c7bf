"""One round after the other: poll, obey, download, report; in between, wait with jitter.

Invariants:

* A desired state is obeyed only if its signature holds, it names this device and fleet, and its counter is
  higher than any before; the same counter with another content is refused.
* The assignment record is written after every file it needs is durable in its slot.
* A round that fails has changed nothing but the download it can resume, and is tried again later.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from acclimate_device.agent.contributing import Contributor
from acclimate_device.agent.identity import Identity
from acclimate_device.agent.machine import Starts
from acclimate_device.agent.outbox import Outbox
from acclimate_device.agent.repository import Repository
from acclimate_device.agent.service import Service, problem
from acclimate_device.agent.transport import Response, Transport, refuse_page
from acclimate_device.errors import DeviceError, StorageError, TransportError, UntrustedError
from acclimate_device.protocol import (
    CLOSED_FORM_FILES,
    FILES,
    LIMITS,
    MANIFEST,
    REPOSITORY_PATH,
    DesiredState,
    Release,
    Report,
    Slot,
    canonical_json,
)
from acclimate_device.storage import CLOCK, Assignment, Flash, Slots, Store
from acclimate_device.telemetry import ReportQueue, moment, told

logger = logging.getLogger(__name__)

_BACKOFF_S, _BACKOFF_MOST_S = 2.0, 900.0
_JITTER = 0.2


class Agent:
    """The agent of one device.

    Args:
        transport: to the service.
        flash: shared with the application's `Device`.
        root: the trusted TUF root that came with the device.
        metadata: folder for verified TUF metadata.
        repository: transport to the TUF repository; None means the service holds it.
        clock: Unix seconds.
        rng: for jitter.
        new_id: makes nonces and the ids of reports: 32 hexadecimal digits.
        hardware: what is soldered to this machine, see `machine.serials`.
        contribute: whether the owner agreed that the device takes part in campaigns.
        peers: raw public keys of devices, of which more than two thirds of a group must be in a round that
            hides contributions; None takes the service's word for who is a device.
    """

    def __init__(
        self,
        transport: Transport,
        flash: Flash,
        root: bytes,
        metadata: Path,
        repository: Transport | None = None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        hardware: Callable[[], str] | None = None,
        contribute: bool = False,
        peers: frozenset[bytes] | None = None,
    ) -> None:
        self._store = Store(flash)
        self.identity = Identity(self._store)
        starts = Starts(self._store, new_id, hardware)
        self.service = Service(transport, self.identity, clock, new_id, self._keep_offset, starts)
        self._static = repository
        self._slots = Slots(self._store)
        self._outbox = Outbox(ReportQueue(self._store, new_id=new_id), self.service, clock, new_id)
        self._contributor = Contributor(self._store, self.service, self.identity, contribute, peers, clock)
        self._repository = Repository(self._get, root, metadata, flash, lambda: self.service.clock_offset_s)
        self._clock, self._rng, self._new_id = clock, rng or random.Random(), new_id
        self._etag = ""
        self._poll_s = 60.0
        self._failures = 0
        self.failed: DeviceError | None = None
        """What went wrong first in the last round."""
        self._told: set[tuple[int, str]] = set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set.

        Raises:
            TransportError: the service says that this device was removed (`device-retired`).
        """
        while not stop.is_set():
            stop.wait(self.round())

    def round(self) -> float:
        """Poll, obey and report once, each though another fails; the seconds to wait until the next round.

        Raises:
            TransportError: the service says that this device was removed (`device-retired`).
        """
        self.failed = None
        for step in (self.poll, self._tell_mishaps, self.send_reports, self.contribute):
            try:
                step()
            except DeviceError as error:
                if isinstance(error, TransportError) and error.problem == problem("device-retired"):
                    raise
                self.failed = self.failed or error
                if isinstance(error, TransportError) and error.retry_after_s:
                    break  # the service asks for a pause
        if self.failed is not None:
            return self._after_failure(self.failed)
        self._failures = 0
        return self._poll_s * self._rng.uniform(1.0 - _JITTER, 1.0 + _JITTER)

    def poll(self) -> bool:
        """Ask for the desired state and obey it if it is new; whether it was.

        Raises:
            TransportError: the service or the repository cannot be reached.
            UntrustedError, BundleError: what came is refused; the running version stays.
        """
        answer = self.service.state(self._etag)
        before = self._slots.assignment()
        if answer is None:
            return self._mend(before)
        state, etag = answer
        self._check(state, before)
        self._poll_s = state.poll_s
        if before is not None and before.state == state:
            self._etag = etag
            return self._mend(before)
        slot = self._place(state)
        if state.action != "hold" and slot is None:
            return False  # both slots are in use by a trial: it ends first
        self._slots.save_assignment(Assignment(state, slot))
        if state.service_keys:
            self.identity.save(replace(self.service.enrolled(), service_keys=state.service_keys))
        self._etag = etag
        logger.info("event=assigned counter=%d action=%s slot=%s", state.counter, state.action, slot)
        return True

    def contribute(self) -> None:
        """Take part in a campaign, if there is one and the owner agreed.

        Raises:
            TransportError: the service cannot be reached; nothing is lost.
            UntrustedError: what is asked for is not for this device, or not signed.
        """
        self._contributor.work()

    def send_reports(self) -> int:
        """Send what waits; how many reports the service settled.

        Raises:
            TransportError: the service cannot be reached; nothing is lost.
            StorageError: the queue cannot be read.
        """
        return self._outbox.send()

    def _check(self, state: DesiredState, before: Assignment | None) -> None:
        enrolled = self.service.enrolled()
        if (state.device_id, state.fleet) != (enrolled.device_id, enrolled.fleet):
            raise UntrustedError(
                f"the desired state is for {state.fleet}/{state.device_id}, not for this device"
            )
        highest = max(self._slots.boot().counter, before.state.counter if before else 0)
        if state.counter < highest:
            raise UntrustedError(
                f"the desired state has counter {state.counter}, {highest} was obeyed: replayed"
            )
        if before is not None and state.counter == before.state.counter and state != before.state:
            raise UntrustedError(f"two different desired states have the counter {state.counter}")

    def _place(self, state: DesiredState) -> Slot | None:
        """The slot that holds what to run, after downloading it if need be."""
        release = state.release
        if release is None or state.action == "hold":
            return None
        boot = self._slots.boot()
        if release == boot.release:
            return boot.good
        if release == boot.factory:
            return "factory"
        if boot.trial is not None:
            return boot.trial.slot if release == boot.trial.release else None
        return self._fetched(state, release)

    def _fetched(self, state: DesiredState, release: Release) -> Slot | None:
        """A free slot, with the release's files in it; None while both are in use."""
        slot = self._slots.free()
        if slot is None:
            return None
        try:
            files = self._repository.fetch(release, self._held)
        except (TransportError, StorageError):
            raise  # neither says anything of the release
        except DeviceError as error:
            self._tell(state, release, error)
            raise
        self._slots.stage(slot, files)
        return slot

    def _mend(self, assignment: Assignment | None) -> bool:
        """Fetch what the device should run and found damaged, or gone from its image; whether it did."""
        damaged = self._slots.boot().damaged
        if damaged is None or assignment is None or assignment.state.release != damaged:
            return False
        if assignment.slot is not None and self._slots.holds(assignment.slot, damaged):
            return False  # mended already: the device has yet to see it
        slot = self._fetched(assignment.state, damaged)
        if slot is None:
            return False
        self._slots.save_assignment(Assignment(assignment.state, slot, assignment.mended + 1))
        logger.info("event=mended release=%s slot=%s", damaged.path, slot)
        return True

    def _held(self, digest: str) -> bytes | None:
        """A file of either slot with this SHA-256: graphs rarely change between versions."""
        for slot in ("a", "b"):
            for name in (MANIFEST, *FILES, *CLOSED_FORM_FILES):
                data = self._slots.read(slot, name)
                if data is not None and hashlib.sha256(data).hexdigest() == digest:
                    return data
        return None

    def _tell_mishaps(self) -> None:
        self._outbox.tell_mishaps(self._store.take_mishaps(), self._slots.boot())

    def _tell(self, state: DesiredState, release: Release, error: DeviceError) -> None:
        """Report a refused bundle, once for each assignment and cause."""
        cause = (state.counter, type(error).__name__)
        if cause in self._told:
            return
        self._told = {cause}
        now, boot = moment(self._clock()), self._slots.boot()
        self._outbox.tell(
            Report(
                id=self._new_id(),
                started_at=now,
                ended_at=now,
                release=boot.release or release,
                counter=state.counter,
                slot=boot.good,
                refusals={type(error).__name__: 1},
                events=(told(now, "refused", release.path, str(error)),),
            )
        )

    def _keep_offset(self, offset_s: float) -> None:
        """Let the application know how far its clock is off."""
        with contextlib.suppress(StorageError):
            self._store.write(CLOCK, canonical_json(round(offset_s)))

    def _get(self, path: str, headers: Mapping[str, str], max_bytes: int) -> Response:
        if self._static is None:
            answer = self.service.authorized("GET", f"{REPOSITORY_PATH}/{path}", headers, None, max_bytes)
        else:
            answer = self._static.request("GET", f"/{path}", headers, None, max_bytes)
            refuse_page(path, answer)
        if answer.status not in (200, 206) or not answer.body:
            raise TransportError(
                f"GET {path}: {answer.status} with {len(answer.body)} bytes, where a file belongs",
                answer.status,
            )
        return answer

    def _after_failure(self, error: DeviceError) -> float:
        """Exponential backoff with full jitter, at most 15 minutes, after the pause the service asks for."""
        self._failures += 1
        limit = min(_BACKOFF_S * 2.0 ** min(self._failures, 20), _BACKOFF_MOST_S)
        asked = error.retry_after_s if isinstance(error, TransportError) else 0.0
        wait = min(asked, LIMITS.poll_s[1]) + self._rng.uniform(0.0, limit)
        logger.warning("event=round_failed failures=%d wait_s=%.1f error=%s", self._failures, wait, error)
        return wait
