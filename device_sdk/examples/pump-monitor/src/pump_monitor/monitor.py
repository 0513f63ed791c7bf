"""The loop: a line in, at most one line out. It knows neither where lines come from nor where they go."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from acclimate_device import Device
from acclimate_device.errors import InputError, LabelError
from acclimate_device.protocol import Release
from pump_monitor.messages import Label, MessageError, Sample, parse
from pump_monitor.windows import Windows

logger = logging.getLogger(__name__)


class Monitor:
    """Predicts every window and learns from labels, whenever they come.

    Args:
        device: opened, and closed by whoever opened it.
        first_window: number of the first window, so that a label cannot meet a window of an earlier start.
    """

    def __init__(self, device: Device, first_window: int | None = None) -> None:
        self._device = device
        self._windows = Windows(device.manifest.input)
        self._number = int(time.time()) if first_window is None else first_window
        self._release = device.release

    def run(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield one message for each window; what cannot be used is logged and skipped."""
        for line in lines:
            if not line.strip():
                continue
            try:
                message = parse(line)
                told = self._learn(message) if isinstance(message, Label) else self._predict(message)
            except (MessageError, InputError, LabelError) as error:
                logger.warning("skipped: %s", error)
                continue
            if told is not None:
                yield told

    def _predict(self, sample: Sample) -> dict[str, Any] | None:
        self._follow_the_version()
        window = self._windows.add(sample)
        if window is None:
            return None
        number, self._number = self._number, self._number + 1
        predicted = self._device.predict_one(window, key=number)
        return {
            "window": number,
            "time": sample.time,
            "prediction": predicted.tolist() if isinstance(predicted, np.ndarray) else predicted,
            "adapted": self._device.adapted,
            "version": self._release.path,
        }

    def _learn(self, message: Label) -> None:
        if not self._device.learn_late(message.window, message.label):
            logger.warning("window %d is not remembered: its label comes too late", message.window)

    def _follow_the_version(self) -> None:
        """The SDK moves to a new version by itself; its windows may be of another shape."""
        release: Release = self._device.release
        if release == self._release:
            return
        logger.info("version %s replaces %s", release.path, self._release.path)
        self._release = release
        if self._device.manifest.input != self._windows.expected:
            self._windows = Windows(self._device.manifest.input)
