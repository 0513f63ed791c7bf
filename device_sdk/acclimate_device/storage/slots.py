"""Two slots for versions, and the two records that say what is in them and what to run.

* `Assignment` is the agent's: what the service wants, and in which slot its files lie. The agent writes a
  slot only while neither the running nor the last good version is in it.
* `Boot` is the device's: the last good slot, a version on trial with the starts it has left, the counter it
  obeyed, and the lineage of adapted state (a reset begins a new one, so old state is never read back).

Each is one atomic write, so a power cut leaves one of two whole situations. A trial's start is counted before
its files are read: a version that kills the process uses up its trials and is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from acclimate_device.bundle import read_bundle
from acclimate_device.errors import BundleError, ProtocolError
from acclimate_device.protocol import MANIFEST, DesiredState, Release, Slot, dumps, loads
from acclimate_device.protocol.codec import Items
from acclimate_device.storage.store import Store

STAGED: tuple[Literal["a"], Literal["b"]] = ("a", "b")
_RECORD_BYTES = 256 * 1024

T = TypeVar("T")


@dataclass(frozen=True)
class Assignment:
    """What to run, as verified by the agent.

    Attributes:
        state: what the service wants.
        slot: holds the files, or is None where none are needed.
        mended: how often the files were fetched again because they were damaged.
    """

    state: DesiredState
    slot: Slot | None
    mended: int = 0


@dataclass(frozen=True)
class Trial:
    """A new version that has to prove itself."""

    slot: Slot
    release: Release
    starts_left: int


@dataclass(frozen=True)
class Boot:
    """What the device runs and falls back to.

    Attributes:
        good: slot of the last good version.
        release: what is in it; None for a factory initialization of which no application told yet.
        trial: the version on trial, if any.
        counter: of the last assignment obeyed.
        lineage: of the adapted state that may be restored.
        failed: content hashes of versions that failed their trials under `counter`.
        damaged: the good version whose files were found damaged, or the assigned one that an update of the
            image took away; the agent fetches them.
        factory: what the image holds, as far as the application saw it.
    """

    good: Slot = "factory"
    release: Release | None = None
    trial: Trial | None = None
    counter: int = 0
    lineage: int = 0
    failed: Annotated[tuple[str, ...], Items(8)] = ()
    damaged: Release | None = None
    factory: Release | None = None

    @property
    def in_use(self) -> set[str]:
        """Slots nobody may write to."""
        return {self.good} | ({self.trial.slot} if self.trial else set())


class Slots:
    """The slots and records of one store.

    Raises:
        StorageError: the flash refuses (from every method).
    """

    def __init__(self, store: Store) -> None:
        self._store, self._flash = store, store.flash
        self._boot = _Parsed(store, "boot", Boot)
        self._assignment = _Parsed(store, "assignment", Assignment)

    def boot(self) -> Boot:
        """The device's record; a fresh one if there is none or it is damaged."""
        return self._boot.read() or Boot()

    def save_boot(self, boot: Boot) -> None:
        self._store.write("boot", dumps(boot))

    def assignment(self) -> Assignment | None:
        """The agent's record; None before the first or if it is damaged."""
        return self._assignment.read()

    def save_assignment(self, assignment: Assignment) -> None:
        self._store.write("assignment", dumps(assignment))

    def free(self) -> Slot | None:
        """A slot that may be written to; None while a trial uses both."""
        return next((slot for slot in STAGED if slot not in self.boot().in_use), None)

    def read(self, slot: str, file: str) -> bytes | None:
        """A file of a slot. The manifest vouches for the others; a record of two copies vouches for it."""
        if file == MANIFEST:
            return self._store.read(f"{slot}/{MANIFEST}")
        return self._flash.read(f"{slot}/{file}")

    def holds(self, slot: str, release: Release) -> bool:
        """Whether a slot has all files of a release, undamaged."""
        try:
            return read_bundle(lambda file: self.read(slot, file)).manifest.release == release
        except BundleError:
            return False

    def stage(self, slot: str, files: dict[str, bytes]) -> None:
        """Put a bundle's files into a slot, the manifest last: without one a slot counts as empty."""
        self.clear(slot)
        for name in sorted(files.keys() - {MANIFEST}):
            self._flash.write(f"{slot}/{name}", files[name])
            self._flash.sync(f"{slot}/{name}")
        self._flash.sync_names(f"{slot}/")
        self._store.write(f"{slot}/{MANIFEST}", files[MANIFEST])

    def clear(self, slot: str) -> None:
        """Empty a slot, the manifest first."""
        self._store.delete(f"{slot}/{MANIFEST}")
        for name in self._flash.names(f"{slot}/"):
            self._flash.delete(name)
        self._flash.sync_names(f"{slot}/")


class _Parsed(Generic[T]):
    """A record as the message it holds; parsed again only when its bytes changed: it is read every second."""

    def __init__(self, store: Store, name: str, kind: type[T]) -> None:
        self._store, self._name, self._kind = store, name, kind
        self._raw: bytes | None = None
        self._value: T | None = None

    def read(self) -> T | None:
        raw = self._store.read(self._name)
        if raw != self._raw:
            self._raw, self._value = raw, None if raw is None else self._parse(raw)
        return self._value

    def _parse(self, raw: bytes) -> T | None:
        try:
            return loads(self._kind, raw, _RECORD_BYTES)
        except ProtocolError:
            return None  # whole, but written by a version of this package that is not ours
