"""Cuts the stream of samples into windows as the model takes them; no window spans a gap."""

from __future__ import annotations

from acclimate_device.protocol import Input
from pump_monitor.messages import MessageError, Sample

GAP_PERIODS = 2.5
"""Sample periods without a sample that end a stretch: one lost sample is bridged, two are not."""
SET_BACK_S = 2 * 3600.0
"""A sample older than the one before by more is of a clock that was set back, not of a slow network."""

Window = list[list[float]]
"""(channels, samples), in the units of the recordings."""


class Windows:
    """Collects samples; windows touch and do not overlap.

    Args:
        expected: the manifest's `input`: channel names, samples of a window, sample rate.
    """

    def __init__(self, expected: Input) -> None:
        self.expected = expected
        self._rows: list[list[float]] = []
        self._latest: float | None = None

    def add(self, sample: Sample) -> Window | None:
        """Take a sample; the window that it completes, if it does.

        Raises:
            MessageError: a channel is missing, or the sample is a little older than the one before.
        """
        try:
            row = [float(sample.values[channel]) for channel in self.expected.channels]
        except KeyError as error:
            raise MessageError(f"the sample at {sample.time} has no channel {error.args[0]!r}") from None
        except (TypeError, ValueError, OverflowError):
            raise MessageError(f"the sample at {sample.time} holds something that is no number") from None
        leapt = self._leapt(sample.time)
        if self._latest is not None and sample.time <= self._latest and not leapt:
            raise MessageError(f"the sample at {sample.time} is not later than the one before")
        if leapt:
            self._rows.clear()
        self._latest = sample.time
        self._rows.append(row)
        if len(self._rows) < self.expected.window:
            return None
        rows, self._rows = self._rows, []
        return [list(channel) for channel in zip(*rows, strict=True)]

    def _leapt(self, time: float) -> bool:
        """After a gap, or after the sensor's clock was set back, which must not end the reading for ever."""
        if self._latest is None:
            return False
        passed, rate = time - self._latest, self.expected.sample_rate_hz
        return passed < -SET_BACK_S or (bool(rate) and passed > GAP_PERIODS / rate)
