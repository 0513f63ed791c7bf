"""Forecasts from a stream of measurements that label themselves: each is scored when its time has come.

with Device.open("bundle", state="state") as device:
    forecaster = Forecaster(device)
    while True:
        forecast = forecaster.observe_one({"kwh": read_meter()})  # None until enough of the past is known

A measurement is the answer to what was forecast for now: it tells which of the experts to trust (what was
last, what was a season ago, the start, the adapted model), and is learned from.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate_device.errors import InputError
from acclimate_device.online import given
from acclimate_device.online.blend import Blend
from acclimate_device.online.device import MOST_KEPT, Device
from acclimate_device.online.memory import recall, remembered
from acclimate_device.online.series import Series
from acclimate_device.protocol import Manifest
from acclimate_device.resampling import EvenSteps, even_steps

logger = logging.getLogger(__name__)

Float = NDArray[np.float32]
_KEPT = "forecaster"
START, ADAPTED, LAST = "start", "adapted", "last value"


class Forecaster:
    """Forecasts of one device; not for several threads at once.

    What it knows is kept with the device's state, at most every `policy.save_s` of the rows' time, and found
    again after a restart. Rows that were missed meanwhile are gaps, where rows come at even times.

    Args:
        device: of a bundle that forecasts, with every target among its channels.
        learn_every: rows between two forecasts that the device learns from; by default its horizon, so that
            the answers of two share no row. 0 never learns.
        clock: seconds since 1970, on the clock of the recordings; by default this machine's, in local time,
            as recordings without a zone have it.

    Raises:
        InputError: the bundle does not forecast, or not from the past of its targets.
    """

    def __init__(
        self, device: Device, learn_every: int | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self._device, self._clock = device, clock or local_time
        self._even: EvenSteps | None
        self._learn_every_given = learn_every
        self._begin(device.manifest)
        self._saved_s = -math.inf
        self._resumed = self._recall()

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of what is weighed: the start, the adapted model, and the forecasts without a model."""
        return self._experts

    @property
    def chosen(self) -> NDArray[np.int64]:
        """What answers at each lead and target, (leads, targets): an expert's position, and beyond those the
        blend of start and adapted model, and the blend of all."""
        return self._blend.chosen()

    def observe_one(
        self,
        values: Sequence[float] | Mapping[str, float],
        moment: float | dt.datetime | np.datetime64 | None = None,
    ) -> Float | float | None:
        """Take a measurement, learn from what it answers, and forecast what follows.

        Args:
            values: of every channel but the calendar's, in order or by name; NaN where nothing was measured.
            moment: when: in seconds since 1970 or else the recordings' own unit, or a date and time, on
                their clock. Default: now.

        Returns:
            As `Device.predict_one`: (leads[, targets]), a number if there is one; None while the past that
            the bundle looks back to is not known, and where the bundle gathers measurements into even steps,
            until one is complete.

        Where the machine's clock shows an hour again, rows of it are left out; where a clock was set back by
        more, the past begins anew.

        Raises:
            InputError: not a usable row; nothing changed.
        """
        if self._device.release != self._release:
            self._follow()
        at = self._seconds(moment)
        if self._behind(at, values) and moment is None:
            logger.info("event=row_left_out moment=%s: the clock shows this hour again", at)
            return None
        if self._even is None:
            return self._take(values, at)
        forecast = None
        for row in self._even.add(self._series.checked(values, at), at):
            if row.anew and not self._resumed:
                self._forget()
            forecast = self._take(row.values.tolist(), row.moment)
        return forecast

    def _behind(self, at: float, values: Sequence[float] | Mapping[str, float]) -> bool:
        """Whether a row is not after the last one; where a clock was set back, the past begins anew."""
        latest = max(self._series.moment, -math.inf if self._even is None else self._even.moment)
        entry = self._device.manifest.input
        if given.set_back(latest, at, entry.time_unit_s):
            self._series.read(values)  # a row that is none changes nothing
            logger.warning("event=clock_set_back from=%s to=%s", latest, at)
            self._forget()
            self._even, latest = even_steps(entry), -math.inf
        return at <= latest

    def _take(self, values: Sequence[float] | Mapping[str, float], at: float) -> Float | float | None:
        if self._resumed:
            self._catch_up(at)
        self._series.add(values, at)
        self._resumed = False
        self._score()
        self._learn()
        x = self._series.input()
        if x is None:
            self._remember(at)
            return None
        candidates = self._blend.candidates(self._forecasts(x))
        self._made[self._series.rows] = candidates
        self._remember(at)
        answer = self._blend.answer(candidates)
        if answer.size == 1:
            return float(answer[0, 0])
        return answer[:, 0] if answer.shape[1] == 1 else answer if len(answer) > 1 else answer[0]

    def _begin(self, manifest: Manifest) -> None:
        output = manifest.output
        unknown = [target for target in output.targets if target not in manifest.input.channels]
        if output.kind != "forecasting" or not output.steps or unknown:
            why = f"it does not hold the past of {unknown[0]!r}" if unknown else f"it is for {output.kind}"
            raise InputError(f"bundle {manifest.release.path} cannot forecast from a stream: {why}")
        self._release = manifest.release
        self._series = Series(manifest)
        self._even = even_steps(manifest.input)
        self._shape = len(output.steps), len(output.targets)
        self._lags = [
            [-(-step // season) * season - step for step in output.steps] for season in output.seasons
        ]
        names = (f"{season} rows before" for season in output.seasons)
        self._experts = (START, ADAPTED, LAST, *names)
        season = min(output.seasons, default=max(24, output.steps[-1]))
        self._blend = Blend(len(self._experts), 2, *self._shape, season)
        self._made: dict[int, Float] = {}
        self._learn_every = output.steps[-1] if self._learn_every_given is None else self._learn_every_given

    def _follow(self) -> None:
        """Another version predicts now: the past stays if it looks back alike, and so does the trust."""
        before, made, blend, even = self._series, self._made, self._blend, self._even
        layout, shape, experts = before.layout, self._shape, self._experts
        self._begin(self._device.manifest)
        if self._series.layout == layout and (self._shape, self._experts) == (shape, experts):
            self._series, self._made, self._blend, self._even = before, made, blend, even

    def _recall(self) -> bool:
        """Go on from what was kept before a restart; whether there was something."""
        raw = self._device.kept(_KEPT)
        made = None if raw is None else recall(raw, self._series, self._blend)
        if made is None:
            self._begin(self._device.manifest)
            return False
        self._made = made
        return True

    def _forget(self) -> None:
        """Begin the past anew; what is trusted stays."""
        self._series, self._made = Series(self._device.manifest), {}

    def _catch_up(self, at: float) -> None:
        """Take rows that came while nobody looked as gaps; begin the past anew where they cannot be told."""
        missed = self._series.missed(at)
        if missed is None:
            self._forget()
            return
        for moment in missed:
            self._series.add([math.nan] * len(self._series.channels), moment)
            self._score()

    def _remember(self, at: float) -> None:
        seconds = at * self._device.manifest.input.time_unit_s
        if seconds - self._saved_s < self._device.policy.save_s:
            return
        known = remembered(self._series, self._blend, self._made)
        if len(known) <= MOST_KEPT:
            self._device.keep(_KEPT, known)
        elif self._saved_s == -math.inf:
            logger.warning("event=forecaster_not_kept bytes=%d most=%d", len(known), MOST_KEPT)
        self._saved_s = seconds

    def _forecasts(self, x: Float) -> Float:
        """Of every expert, (experts, leads, targets)."""
        last = np.broadcast_to(self._series.at_lags([0]), self._shape)
        seasonal = [self._series.at_lags(lags) for lags in self._lags]
        adapted = np.asarray(self._device.predict_one(x), np.float32).reshape(self._shape)
        start = adapted
        if self._device.adapted:
            start = np.asarray(self._device.predict_start_one(x), np.float32).reshape(self._shape)
        return np.stack([start, adapted, last, *seasonal])

    def _score(self) -> None:
        now = self._series.rows
        for_now = np.full((self._blend.experts + 2, *self._shape), np.nan, np.float32)
        for lead, step in enumerate(self._series.steps):
            made = self._made.get(now - step)
            if made is not None:
                for_now[:, lead] = made[:, lead]
        self._blend.score(for_now, self._series.latest())
        self._made.pop(now - self._series.steps[-1], None)

    def _learn(self) -> None:
        horizon = self._series.steps[-1]
        if not self._learn_every or self._series.rows % self._learn_every:
            return
        if len(self._series) <= horizon:
            return
        x, y = self._series.input(horizon), self._series.answers(horizon, self._series.steps)
        if x is not None and np.isfinite(y).all():
            self._device.learn_one(x, y)

    def _seconds(self, moment: float | dt.datetime | np.datetime64 | None) -> float:
        unit_s = self._device.manifest.input.time_unit_s
        if moment is None and unit_s != 1.0:
            raise InputError("give the time of each row: the recordings counted it in a unit of their own")
        return given.seconds(self._clock() if moment is None else moment, unit_s)


def local_time() -> float:
    """Seconds since 1970 as this machine's clock on the wall shows them."""
    now = time.time()
    return now + time.localtime(now).tm_gmtoff
