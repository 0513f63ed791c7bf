"""One microcontroller behind a gateway: a device of its own, with its own identity and reports.

The agent polls, verifies and stages bundles as for any device. What an application does elsewhere is done
here: an assigned release becomes a signed blob on the line, and what the child counted becomes reports. The
child's own checks of a blob are the trial of a version; one that it refuses is given up.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from acclimate_device.bundle import Bundle
from acclimate_device.clock import Clock
from acclimate_device.errors import BundleError, ProtocolError, TransportError
from acclimate_device.federated import LEAST_EXAMPLES
from acclimate_device.mcu.line import REFUSALS, Hello, Line
from acclimate_device.mcu.weights import Sign, blob, topology
from acclimate_device.online.contributing import Contributing
from acclimate_device.online.versions import Note, ReadFile, Running, Versions
from acclimate_device.protocol import Contribution, Manifest, Report, Round, Slot, loads
from acclimate_device.runtime.engine import Engine
from acclimate_device.storage import Slots, Store
from acclimate_device.telemetry import ReportQueue, told

logger = logging.getLogger(__name__)

_REPORT_BYTES = 16 * 1024
_LAST_SECOND = 2**32 - 1
"""That a child can tell."""
_NONE = "the child still runs what it ran"
_OTHER_RELEASE = "it runs another release"
_LATER = (_OTHER_RELEASE, REFUSALS[-13])
"""Why a child gives nothing that may pass before the round closes."""


class Packed:
    """A bundle that a child runs: the gateway needs its manifest and files, and no runtime."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest


def _packed(bundle: Bundle, like: Engine | None) -> Engine:
    return cast(Engine, Packed(bundle))  # the versions read an engine's manifest alone


class Child:
    """The application's side of one microcontroller.

    Args:
        line: to it.
        store: on the gateway's flash, for this child alone, shared with its agent.
        factory: reads a file of the bundle that its firmware was generated from.
        sign: the Ed25519 signature that its firmware trusts.
        clock: the gateway's, which may be set right while a window is open.
        new_id: makes ids of merged reports: 32 hexadecimal digits.
        on_report: is shown each report before it is queued.
    """

    def __init__(
        self,
        line: Line,
        store: Store,
        factory: ReadFile,
        sign: Sign,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        on_report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._line, self._sign, self._clock = line, sign, clock or Clock()
        self._on_report = on_report
        self._queue = ReportQueue(store, new_id=new_id)
        self._contributing, self._silent = Contributing(store), ""
        self._versions = Versions(Slots(store), factory, 3, _packed)
        self._running = self._versions.last_good()  # one on trial starts once the child answers
        self._refused = ""
        self._notes: list[Note] = []
        self._began = self._clock.elapsed()
        self._reported = ""

    @property
    def manifest(self) -> Manifest:
        """Of the bundle that it runs, as far as its gateway knows."""
        return self._running.engine.manifest

    @property
    def slot(self) -> Slot:
        """Where its gateway holds that bundle."""
        return self._running.slot

    def close(self) -> None:
        """Have it keep what it learnt, and report the open window.

        Raises:
            TransportError: the child gives no answer.
        """
        self._line.save()
        self._report(self._versions.boot.counter)

    def reconnect(self, line: Line) -> None:
        """Go on over another line, perhaps to another board; what is to be told still is."""
        self._line, self._running = line, self._versions.last_good()
        self._refused = self._silent = ""

    def step(self) -> None:
        """Obey what the agent was told, and report where a window is over.

        Raises:
            TransportError: the child gives no answer; nothing is lost, the next step tries again.
        """
        there = self._line.hello()
        before = self._versions.boot.counter
        if self._versions.on_trial:  # the gateway or the line stopped amid an update
            self._settle(self._versions.start(), there)
            there = self._line.hello()
        change = self._versions.assigned(self._running, self._line.reset)
        if self._versions.boot.counter != before:
            self._report(before)
        if change.running is not None:
            self._settle(change.running, there)
        elif change.fresh:
            self._notes.append(("reset", "assignment", ""))
        elif there.content_hash not in (self._running.release.content_hash, self._refused):
            self._settle(self._running, there)  # another board, another gateway's weights, or given up here
        self._notes += self._versions.take_notes()
        self._contribute()
        if self._clock.elapsed() - self._began >= (self._versions.report_s or 900.0):
            self._line.save()
            self._report(self._versions.boot.counter)

    def _settle(self, running: Running, there: Hello) -> None:
        """Have the child run a release; what it runs afterwards is what it says it runs."""
        release = running.release
        if there.content_hash != release.content_hash:
            refused = self._send(running, there)
            if refused:
                logger.warning("event=weights_refused release=%s reason=%s", release.path, refused)
                self._versions.give_up(refused)
                self._refused = there.content_hash  # not sent at every step: each costs its flash
                self._running = self._versions.last_good()
                return
        self._versions.confirm()
        self._running, self._refused = running, ""

    def _send(self, running: Running, there: Hello) -> str:
        """Why the child does not take the weights; empty where it did."""
        engine = cast(Packed, running.engine)
        try:
            if topology(engine.bundle).hex() != there.topology:
                return REFUSALS[-8]
            told = self._line.send_weights(blob(engine.bundle, there.counter + 1, self._sign))
        except BundleError as error:
            return str(error)
        if told:
            return REFUSALS.get(told, f"it says {told}")
        return "" if self._line.hello().content_hash == running.release.content_hash else _NONE

    def _contribute(self) -> None:
        """Answer a campaign, where the agent left what it asks for: moments that the child itself adds up."""
        asked = self._contributing.asked(self._clock.now())
        if asked is None or asked.id == self._silent:
            return
        given, why = self._moments(asked)
        if given is not None:
            self._contributing.answer(asked, Contribution.of(asked.id, given))
        elif why not in _LATER:
            self._silent = asked.id
            logger.warning("event=nothing_to_give campaign=%s reason=%s", asked.id, why)

    def _moments(self, asked: Round) -> tuple[bytes | None, str]:
        if asked.release != self._running.release:
            return None, _OTHER_RELEASE
        if not asked.kind.endswith("moments"):
            return None, "microcontrollers give moments alone, no way of steps"
        count, values = self._line.moments(asked.clip, asked.bits, max(asked.labels, LEAST_EXAMPLES))
        if count < 0:
            return None, REFUSALS.get(count, f"it says {count}")
        if count != asked.numbers:
            return None, f"it has {count} numbers to give, the round asks for {asked.numbers}"
        return values, ""

    def _report(self, counter: int) -> None:
        """Close the child's window as one of the assignment `counter`, and queue it. The report before comes
        first where its child does not know that it was queued: the same has the same id, and counts once."""
        now, elapsed = self._clock.now(), self._clock.elapsed()
        started, ended = (min(max(int(at), 0), _LAST_SECOND) for at in (now - (elapsed - self._began), now))
        window = (started, max(started, ended))
        for _ in range(2):
            raw = self._line.report(*window)
            try:
                report = loads(Report, raw, _REPORT_BYTES)
            except ProtocolError as error:
                raise TransportError(f"the child's report cannot be read: {error}") from None
            fresh = (report.started_at, report.ended_at) == window
            notes = self._notes if fresh else []
            if report.drifts:  # the child knows no time: it was within this window
                notes = [*notes, ("drift", "microcontroller", f"{report.drifts} since the last report")]
            report = replace(
                report,
                id=hashlib.sha256(raw).hexdigest()[:32],
                release=self._running.release,
                counter=counter,
                slot=self.slot,
                events=tuple(told(report.ended_at, kind, source, detail) for kind, source, detail in notes),
            )
            if report.id != self._reported:
                self._on_report(report)
                self._queue.add(report)
            self._reported = report.id
            if fresh:
                self._began = elapsed
                self._notes.clear()
                return
