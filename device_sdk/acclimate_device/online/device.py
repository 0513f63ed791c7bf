"""The device an application talks to: predict, learn, reset.

A call that raises has changed nothing but the count of refusals. `Predictor` predicts, `Lifecycle` is
everything else; here is what a caller needs to know of both.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from acclimate_device.clock import Clock
from acclimate_device.drift import Detector, InputShift
from acclimate_device.errors import BundleError, LabelError
from acclimate_device.online.health import Health
from acclimate_device.online.housekeeping import Housekeeping
from acclimate_device.online.lifecycle import Lifecycle
from acclimate_device.online.pending import Pending
from acclimate_device.online.policy import OnlinePolicy
from acclimate_device.online.predictor import Predictor
from acclimate_device.online.versions import Load, ReadFile
from acclimate_device.protocol import Manifest, Release, Report, Slot
from acclimate_device.runtime import load_engine
from acclimate_device.storage import Claim, FileFlash, Flash, SameProcess

_NAME = re.compile(r"[a-z0-9-]{1,32}")
MOST_KEPT = 1024 * 1024
_own_arithmetic = np.errstate(all="ignore")
"""Whatever an application has numpy do about overflow: here results are checked that matter."""


class Device:
    """One device: a version, its adaptation, its drift detectors and its telemetry.

    `Device.open` is for applications; this constructor takes the parts, for tests and simulations.

    Args:
        factory: reads a file of the bundle the device was shipped with.
        flash: where versions, adapted state and reports are kept.
        policy: what it does by itself.
        detector: watches the losses; by default ADWIN for a rising mean.
        input_shift: watches the inputs.
        clock: Unix seconds; by default the machine's, with durations by a clock that only goes forward.
        new_id: makes report ids: 32 hexadecimal digits.
        load: makes the engine of a bundle; a process that holds many devices shares engines here.
        on_report: is shown each closed window before it is queued.
        may_contribute: whether the device may compute something for a campaign now, such as when it charges;
            asked again at each tick until it may, or the round is over.

    Raises:
        BundleError: no version loads, not even the factory's.
    """

    @_own_arithmetic
    def __init__(
        self,
        factory: ReadFile,
        flash: Flash,
        policy: OnlinePolicy | None = None,
        detector: Detector | None = None,
        input_shift: InputShift | None = None,
        clock: Callable[[], float] | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        load: Load = load_engine,
        on_report: Callable[[Report], None] | None = None,
        may_contribute: Callable[[], bool] = lambda: True,
    ) -> None:
        self.policy = policy or OnlinePolicy()
        self._process = SameProcess()
        self._life = Lifecycle(
            factory,
            flash,
            self.policy,
            detector,
            input_shift,
            Clock(clock),
            new_id,
            load,
            on_report,
            may_contribute,
        )
        self._pending = Pending(self.policy.pending)
        self._predictor = Predictor(self._life, self._pending)
        self._housekeeping: Housekeeping | None = None
        self._claim: Claim | None = None

    @classmethod
    def open(
        cls,
        bundle: Path | str,
        state: Path | str,
        policy: OnlinePolicy | None = None,
        detector: Detector | None = None,
        input_shift: InputShift | None = None,
        may_contribute: Callable[[], bool] = lambda: True,
    ) -> Device:
        """The device of this machine, with its housekeeping in a background thread.

        Args:
            bundle: folder of the bundle the device was shipped with, its factory initialization.
            state: folder that survives restarts, shared with the agent if there is one.
            policy: what it does by itself.
            detector: watches the losses.
            input_shift: watches the inputs.
            may_contribute: see the class.

        Raises:
            BundleError: no version loads, not even the factory's.
            StorageError: the folder `state` cannot be made.
            OwnerError: another application uses `state`.
        """
        folder = Path(bundle)

        def read(file: str) -> bytes | None:
            path = folder / file
            try:
                return path.read_bytes() if path.is_file() else None
            except OSError as error:
                raise BundleError(f"{path}: {error.strerror}: let this account read it") from None

        flash = FileFlash(state)
        claim = Claim(flash.root, "application")
        try:
            device = cls(read, flash, policy, detector, input_shift, may_contribute=may_contribute)
            device._housekeeping = Housekeeping(device.tick)
        except BaseException:
            claim.release()
            raise
        device._claim = claim
        return device

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a device is bound to its process and state folder and cannot be pickled or copied: open one in "
            "each process, with a state folder of its own"
        )

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def release(self) -> Release:
        """The exact version that predicts."""
        return self._life.active.running.release

    @property
    def slot(self) -> Slot:
        """Where it runs from: `a`, `b` or `factory`."""
        return self._life.active.running.slot

    @property
    def manifest(self) -> Manifest:
        """Everything about the version that predicts: labels, shapes, units, expected curve."""
        return self._life.active.running.engine.manifest

    @property
    def adapted(self) -> bool:
        """Whether adapted parameters predict, not the start's."""
        return self._life.active.adapted

    @property
    def health(self) -> Health:
        """Whether flash and clock do what they should, as of the last housekeeping."""
        return self._life.keeping.health

    @_own_arithmetic
    def predict_one(self, x: Any, key: Hashable | None = None) -> Any:
        """The label (classification), whether it is an anomaly, a number, or an array: (targets,), of
        forecasts (horizon[, targets]).

        Args:
            x: of the manifest's shape, in the recorded units; channels may come by name, as in a mapping or a
                table of pandas. It is copied.
            key: remembers the input, so that `learn_late(key, y)` can follow once the label is known.

        Raises:
            InputError: not a usable input; nothing changed.
        """
        self._process.check()
        return self._predictor.one(x, key)

    @_own_arithmetic
    def predict_start_one(self, x: Any) -> Any:
        """`predict_one` of the start, whatever was adapted: what a device would say that never learnt.

        Raises:
            InputError: not a usable input; nothing changed.
        """
        return self._predictor.start(x)

    @_own_arithmetic
    def predict_proba_one(self, x: Any) -> dict[str, float]:
        """The probability of each label for one example.

        Raises:
            InputError: not a usable input; nothing changed.
            LabelError: the bundle does not classify.
        """
        self._process.check()
        return self._predictor.probabilities(x)

    @_own_arithmetic
    def predict_interval_one(self, x: Any, level: float = 0.9) -> tuple[Any, Any]:
        """Where the target of one example lies with probability `level`: (lowest, highest).

        Args:
            level: between 0.5 and 0.99.

        Raises:
            InputError: not a usable input; nothing changed.
            LabelError: the bundle classifies, or adapts by gradient steps, which tell nothing of uncertainty.
            ValueError: `level` is out of range.
        """
        return self._predictor.interval(x, level)

    @_own_arithmetic
    def predict_many(self, xs: Iterable[Any]) -> list[Any]:
        """`predict_one` for each, in one run of the graph, after all inputs were checked.

        All are predicted by one version with one set of parameters.

        Raises:
            InputError: an input is not usable; nothing changed.
        """
        self._process.check()
        return self._predictor.many(xs)

    @_own_arithmetic
    def score_one(self, x: Any) -> float:
        """How far one window is from what is normal on this device: its log density below the usual one's.

        Above `threshold` it is an anomaly, of which `predict_one` says True.

        Raises:
            InputError: not a usable input; nothing changed.
            LabelError: the bundle does not tell anomalies.
        """
        return self._predictor.score(x)

    def learn_one(self, x: Any, y: Any = None) -> None:
        """Learn from one labelled example: predict it, watch the loss, keep it, adapt when due.

        Where the bundle tells anomalies, learn one window as normal, without a label.

        Raises:
            InputError, LabelError: not a usable example; nothing changed.
        """
        self.learn_many([x], [y])

    @_own_arithmetic
    def learn_many(self, xs: Iterable[Any], ys: Iterable[Any]) -> None:
        """`learn_one` for each; all examples are checked before the first is learnt.

        Raises:
            InputError, LabelError: an example is not usable, or there are not as many labels as inputs.
        """
        xs, ys = list(xs), list(ys)
        if len(xs) != len(ys):
            raise LabelError(f"{len(xs)} inputs came with {len(ys)} labels: give one label each")
        self._process.check_owner()
        self._life.learn(xs, ys)

    def learn_late(self, key: Hashable, y: Any) -> bool:
        """Learn from an input predicted earlier under `key`; False if it is no longer remembered.

        Raises:
            LabelError: not a usable label; the input stays remembered.
        """
        raw = self._pending.get(key)
        if raw is None:
            return False
        self.learn_one(raw, y)
        self._pending.forget(key)
        return True

    @_own_arithmetic
    def reset(self) -> None:
        """Return to the initialization of the version in use and forget the support; works offline."""
        self._process.check_owner()
        self._life.reset()

    @_own_arithmetic
    def tick(self) -> None:
        """Housekeeping: obey the agent, end trials, close report windows, save state.

        After `open` a thread calls it every second; simulations call it themselves. Trouble of the flash is
        in `health` and in the next report; it is not raised.

        Raises:
            OwnerError: this process was forked from the one that opened the device.
        """
        self._process.check_owner()
        self._life.tick()

    def keep(self, name: str, data: bytes) -> bool:
        """Keep something of the application's own over restarts, in two checksummed copies.

        Args:
            name: lower-case letters, digits and hyphens, at most 32.
            data: at most `MOST_KEPT` bytes.

        Returns:
            Whether it is durable; if not, `health` says why.

        Raises:
            ValueError: a name or data of another kind.
        """
        if not isinstance(data, bytes) or not _NAME.fullmatch(str(name)) or len(data) > MOST_KEPT:
            told = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
            raise ValueError(f"{name!r} with {told}: use a-z, 0-9, - and at most {MOST_KEPT} bytes")
        self._process.check_owner()
        return self._life.keeping.keep(f"kept/{name}", data)

    def kept(self, name: str) -> bytes | None:
        """What `keep` kept under this name; None where nothing is, or can be read now."""
        return self._life.keeping.kept(f"kept/{name}")

    @_own_arithmetic
    def close(self) -> None:
        """Stop the housekeeping, end a passed trial, report the open window, save what was learnt.

        In a process that was forked from the one that opened the device it does nothing, nor a second time.
        What `open` opened predicts on, and refuses to learn: the state folder may be another's.
        """
        if not self._process:
            return
        if self._housekeeping is not None:
            self._housekeeping.stop()
            self._housekeeping = None
        self._life.close()
        if self._claim is not None:
            self._process.end()
            self._claim.release()
