"""Which version runs: trials of new ones, the way back, and the factory initialization as the last resort."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from acclimate_device.bundle import Bundle, read_bundle
from acclimate_device.errors import BundleError, StorageError
from acclimate_device.protocol import EventKind, Release, Slot
from acclimate_device.runtime import Engine, load_engine
from acclimate_device.storage import Assignment, Boot, Slots, Trial

ReadFile = Callable[[str], bytes | None]
Load = Callable[[Bundle, Engine | None], Engine]
"""A bundle to an engine, given the one in use, whose sessions it may share."""
Note = tuple[EventKind, str, str]
"""An event without its time: kind, source, detail."""


@dataclass(frozen=True)
class Running:
    """A version that loaded."""

    engine: Engine
    slot: Slot

    @property
    def release(self) -> Release:
        return self.engine.manifest.release


@dataclass(frozen=True)
class Change:
    """What an assignment asks for: another version to run, or to start afresh; None and False for neither."""

    running: Running | None
    fresh: bool


class Versions:
    """Keeps the boot record true: every method that changes it writes it before it returns.

    Where the flash refuses, the record is kept in memory, `trouble` says why, and `retry` tries again. No
    method raises because of it. A trial is not begun then: a version that kills the process would never use
    up its starts.

    Args:
        slots: on the device's flash.
        factory: reads a file of the bundle the device was shipped with.
        trial_starts: starts a new version gets.
        load: makes the engine of a bundle.
    """

    def __init__(self, slots: Slots, factory: ReadFile, trial_starts: int, load: Load = load_engine) -> None:
        self._slots, self._factory, self._trial_starts = slots, factory, trial_starts
        self._engine = load
        self.trouble = ""
        self._unsaved = False
        self._mended = 0
        try:
            self.boot = slots.boot()
        except StorageError as error:
            self.boot, self.trouble = Boot(), str(error)
        self.report_s: float | None = None  # what the service asks for, once it has
        self.notes: list[Note] = []

    @property
    def on_trial(self) -> bool:
        return self.boot.trial is not None

    def start(self) -> Running:
        """The version to run after a start: the one on trial, else the last good one, else the factory's.

        Raises:
            BundleError: not even the factory initialization loads.
        """
        trial = self.boot.trial
        if trial is not None and trial.starts_left > 0:
            counted = replace(self.boot, trial=replace(trial, starts_left=trial.starts_left - 1))
            if not self._save(counted):
                return self.last_good()
            try:
                return self._load(trial.slot, trial.release)
            except BundleError as error:
                self.give_up(str(error))
        elif trial is not None:
            self.give_up(f"did not prove itself in {self._trial_starts} starts")
        return self.last_good()

    def last_good(self) -> Running:
        """The last good version, or the factory's.

        Raises:
            BundleError: not even the factory initialization loads.
        """
        if self.boot.good != "factory" and self.boot.release is not None:
            try:
                return self._load(self.boot.good, self.boot.release)
            except BundleError as error:
                self.notes.append(("factory", _name(self.boot.release), str(error)))
                factory = replace(self.boot, good="factory", release=None, damaged=self.boot.release)
                self._save(replace(factory, lineage=self.boot.lineage + 1))
        running = Running(self._engine(read_bundle(self._factory), None), "factory")
        shipped = running.release
        if self.boot.good == "factory" and (self.boot.release, self.boot.factory) != (shipped, shipped):
            self._save(replace(self.boot, release=shipped, factory=shipped))  # so the agent need not fetch it
        return running

    def assigned(self, running: Running, reset: Callable[[], object] = lambda: None) -> Change:
        """Obey the latest assignment, once: load what it asks for and record that it is obeyed.

        Args:
            reset: is called before it is recorded that `running` starts afresh; where it raises, nothing is.
        """
        try:
            assignment = self._slots.assignment()
        except StorageError as error:
            self.trouble = str(error)
            return Change(None, False)
        if assignment is None:
            return Change(None, False)
        self.report_s = assignment.state.report_s
        if assignment.state.counter <= self.boot.counter:
            return self._mended_by(assignment, running)
        state = assignment.state
        obeyed = replace(self.boot, counter=state.counter, failed=(), damaged=None)
        if state.action == "hold" or state.release is None:
            self._save(obeyed)
            return Change(None, False)
        if state.release == running.release:
            if fresh := state.action == "reset":
                reset()
            self._save(replace(obeyed, lineage=obeyed.lineage + fresh))
            return Change(None, fresh)
        return self._switch(assignment, state.release, obeyed, running)

    def _switch(self, assignment: Assignment, release: Release, obeyed: Boot, running: Running) -> Change:
        shipped = assignment.slot == "factory"
        if shipped and self.boot.damaged == release:
            return Change(None, False)  # the agent has yet to fetch it
        try:
            if assignment.slot is None:
                raise BundleError(f"no slot holds {_name(release)}")
            loaded = self._load(assignment.slot, release, running.engine)
        except BundleError as error:
            if shipped:  # until an update of the image: the agent fetches it instead
                self._save(replace(self.boot, factory=None, damaged=release))
                return Change(None, False)
            self.notes.append(("refused", _name(release), str(error)))
            self._save(replace(obeyed, failed=(release.content_hash,)))
            return Change(None, False)
        lineage = obeyed.lineage + 1
        if (obeyed.good, obeyed.release) == (loaded.slot, release):  # back to what was good: no trial
            self._save(replace(obeyed, trial=None, lineage=lineage))
        else:
            trial = Trial(loaded.slot, release, self._trial_starts - 1)
            self._save(replace(obeyed, trial=trial, lineage=lineage))
            self.notes.append(("installed", _name(release), f"slot {loaded.slot}"))
        return Change(loaded, True)

    def _mended_by(self, assignment: Assignment, running: Running) -> Change:
        """Return to the good version whose files were damaged, once the agent fetched them again."""
        release = assignment.state.release
        unchanged = assignment.mended == self._mended
        if unchanged or release is None or release != self.boot.damaged or assignment.slot is None:
            return Change(None, False)
        self._mended = assignment.mended
        try:
            loaded = self._load(assignment.slot, release, running.engine)
        except BundleError:
            return Change(None, False)  # damaged again: the agent sees that it is still asked for
        good = replace(self.boot, good=loaded.slot, release=release, damaged=None)
        self._save(replace(good, lineage=self.boot.lineage + 1))
        self.notes.append(("repaired", _name(release), f"its files were fetched again into {loaded.slot}"))
        return Change(loaded, True)

    def confirm(self) -> None:
        """The version on trial proved itself: it is the last good one from now on."""
        trial = self.boot.trial
        if trial is not None:
            self._save(replace(self.boot, good=trial.slot, release=trial.release, trial=None, damaged=None))
            self.notes.append(("confirmed", _name(trial.release), ""))

    def give_up(self, reason: str) -> None:
        """The version on trial failed: it is not tried again under this assignment."""
        trial = self.boot.trial
        if trial is not None:
            failed = (*self.boot.failed[-7:], trial.release.content_hash)
            self._save(replace(self.boot, trial=None, lineage=self.boot.lineage + 1, failed=failed))
            self.notes.append(("returned", _name(trial.release), reason))

    def reset(self) -> None:
        """Begin a new lineage of adapted state: what was saved is never read back."""
        self._save(replace(self.boot, lineage=self.boot.lineage + 1))

    def take_notes(self) -> list[Note]:
        """The events since the last call."""
        notes, self.notes = self.notes, []
        return notes

    def _load(self, slot: Slot, release: Release, like: Engine | None = None) -> Running:
        if slot == "factory":
            engine = self._engine(read_bundle(self._factory), like)
        else:
            try:
                bundle = read_bundle(lambda file: self._slots.read(slot, file))
            except StorageError as error:
                raise BundleError(str(error)) from None
            engine = self._engine(bundle, like)
        if engine.manifest.release != release:
            raise BundleError(f"slot {slot} holds {_name(engine.manifest.release)}, not {_name(release)}")
        return Running(engine, slot)

    def retry(self) -> None:
        """Write the record if the flash refused it before."""
        if self._unsaved:
            self._save(self.boot)
        elif self.trouble:
            with contextlib.suppress(StorageError):
                self._slots.boot()
                self.trouble = ""

    def _save(self, boot: Boot) -> bool:
        """Whether it is durable."""
        self.boot = boot
        try:
            self._slots.save_boot(boot)
        except StorageError as error:
            self._unsaved, self.trouble = True, str(error)
        else:
            self._unsaved, self.trouble = False, ""
        return not self._unsaved


def _name(release: Release) -> str:
    return f"{release.name}/{release.version}"
