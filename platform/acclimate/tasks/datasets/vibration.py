"""Vibration of bearings, generated: machines that differ in bearing, speed, structure and mounting.

No free data set of bearing vibration may be shipped, so this one is made. What is heard of a machine is its
shaft, its noise and, where something is wrong, the ringing of its structure:

    x = gain * (shaft orders + mains + structure * (impacts + noise)) + sensor noise

A damaged raceway or ball strikes at the frequency its geometry gives (Randall and Antoni 2011, "Rolling
element bearing diagnostics: a tutorial", section 2), with the slip of rolling; an inner race passes through
the load zone once a turn, a ball once a turn of the cage. The structure answers with a few damped modes, and
those differ between machines: the same fault sounds different on each. Imbalance is one order of the shaft,
misalignment its second and third. Each machine shows each state in two recordings, with gains and severities
of their own, as after a second visit with the sensor: a level that tells states apart in one misleads in the
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from acclimate.errors import DataError
from acclimate.tasks.datasets.files import Files
from acclimate.tasks.episodes.randomness import Domain, generator
from acclimate.tasks.recordings import RecordingSchema
from acclimate.tasks.sources import Source, as_table, deferred

Floats = npt.NDArray[np.float64]

STATES = ("normal", "outer", "inner", "ball", "imbalance", "misalignment")
RATE_HZ = 12_800.0
VISITS = 2
VERSION = 1
"""Of what is generated: pools built from another one are built again."""


@dataclass(frozen=True)
class Machine:
    """One machine, drawn once; all frequencies in Hz.

    Attributes:
        turns: shaft turns a second.
        outer: impacts a second of a damaged outer race.
        inner: of an inner race.
        ball: of a ball, which meets both races in one turn.
        cage: turns a second of the cage, which carries the balls through the load zone.
        modes: natural frequencies of the structure as heard by the sensor.
        damping: of each mode, relative to the critical one.
        weight: of each mode.
        orders: amplitudes of the shaft's first orders in good health.
    """

    turns: float
    outer: float
    inner: float
    ball: float
    cage: float
    modes: Floats
    damping: Floats
    weight: Floats
    orders: Floats

    @staticmethod
    def drawn(random: np.random.Generator) -> Machine:
        """A bearing of 7 to 12 balls on a shaft at 12 to 30 turns a second, and a structure around it."""
        turns, balls, ratio = random.uniform(12, 30), random.integers(7, 13), random.uniform(0.18, 0.32)
        modes = int(random.integers(3, 6))
        return Machine(
            turns=turns,
            outer=balls / 2 * turns * (1 - ratio),
            inner=balls / 2 * turns * (1 + ratio),
            ball=turns / ratio * (1 - ratio**2),
            cage=turns / 2 * (1 - ratio),
            modes=random.uniform(700, 5500, modes),
            damping=random.uniform(0.01, 0.06, modes),
            weight=random.lognormal(0, 0.5, modes),
            orders=random.lognormal(-1.2, 0.4, 4),
        )

    def recording(self, state: str, samples: int, random: np.random.Generator) -> Floats:
        """Acceleration in no unit, as its gain is unknown, (samples,)."""
        time = np.arange(samples) / RATE_HZ
        phase = (
            2 * np.pi * self.turns * (time + 0.002 * np.sin(2 * np.pi * 0.3 * time + random.uniform(0, 6)))
        )
        severity = random.lognormal(0, 0.3)
        orders = self.orders * random.lognormal(0, 0.1, len(self.orders))
        orders[0] += severity * (state == "imbalance")
        orders[1:3] += severity * np.array([0.8, 0.4]) * (state == "misalignment")
        shaft = sum(
            amplitude * np.sin((number + 1) * phase + random.uniform(0, 2 * np.pi))
            for number, amplitude in enumerate(orders)
        )
        excitation = 0.25 * random.normal(size=samples) + severity * self._impacts(state, phase, random)
        mains = 0.05 * np.sin(2 * np.pi * 50 * time + random.uniform(0, 2 * np.pi))
        heard = shaft + mains + self._ringing(excitation)
        noisy: Floats = random.lognormal(0, 0.7) * (heard + 0.1 * random.normal(size=samples))
        return noisy

    def _impacts(self, state: str, phase: Floats, random: np.random.Generator) -> Floats:
        """Strikes of a damaged part, (samples,); their intervals slip by 1.5 %."""
        strikes = np.zeros(len(phase))
        rate = {"outer": self.outer, "inner": self.inner, "ball": self.ball}.get(state)
        if rate is None:
            return strikes
        count = int(len(phase) / RATE_HZ * rate) + 2
        intervals = random.normal(1.0, 0.015, count) / rate
        at = (np.cumsum(intervals) * RATE_HZ).astype(np.int64)
        at = at[at < len(phase)]
        carried = {"outer": 0.0, "inner": 1.0, "ball": self.cage / self.turns}[state]
        zone = 0.5 + 0.5 * np.cos(carried * phase[at]) if carried else 1.0
        strikes[at] = 6.0 * zone * random.lognormal(0, 0.15, len(at))
        return strikes

    def _ringing(self, excitation: Floats) -> Floats:
        """What the structure makes of it: damped modes, each of equal energy but for its weight."""
        frequency = np.fft.rfftfreq(len(excitation), 1 / RATE_HZ)[:, None]
        response = 2 * self.damping * self.modes * frequency * self.weight
        response = response / (self.modes**2 - frequency**2 + 2j * self.damping * self.modes * frequency)
        ringing: Floats = np.fft.irfft(np.fft.rfft(excitation) * response.sum(1), len(excitation))
        return ringing


def load(
    files: Files,
    *,
    machines: int = 20,
    seconds: float = 2.0,
    window: int = 2048,
    stride: int | None = None,
    states: Sequence[str] = STATES,
    seed: int = 0,
) -> tuple[Source, RecordingSchema]:
    """Which state a machine is in.

    Args:
        machines: how many, a task each.
        seconds: of one recording; each machine has two of each state.
        window: samples of an example; 2048 are 160 ms.
        stride: samples between two of them; default: half the window.
        states: some of normal, outer, inner, ball, imbalance, misalignment.
        seed: of the machines and all their noise.

    Raises:
        DataError: a state is unknown, or a recording is shorter than two windows.
    """
    for state in states:
        if state not in STATES:
            raise DataError(f"state {state!r} is unknown; there are {', '.join(STATES)}")
    samples = round(seconds * RATE_HZ)
    if machines < 1 or samples < 2 * window:
        raise DataError(
            f"machines is {machines} and a recording has {samples} samples: use at least one machine and "
            f"two windows, {2 * window / RATE_HZ:g} seconds"
        )
    identity = repr((VERSION, machines, samples, tuple(states), seed))
    source = deferred(
        "vibration",
        hashlib.sha256(identity.encode()).hexdigest(),
        lambda: as_table(_columns(machines, samples, states, seed), "vibration"),
    )
    return source, RecordingSchema(
        kind="classification",
        task="machine",
        recording="recording",
        label="state",
        labels=tuple(states),
        channels=("acceleration",),
        window=window,
        stride=stride,
        timeline="label",
        sample_rate_hz=RATE_HZ,
    )


def _columns(machines: int, samples: int, states: Sequence[str], seed: int) -> dict[str, Any]:
    recordings = list(_recordings(machines, samples, states, seed))
    names = [f"machine-{number:02d}" for number, _, _ in recordings]
    return {
        "machine": np.repeat(names, samples),
        "state": np.repeat([state for _, state, _ in recordings], samples),
        "recording": np.repeat(np.arange(len(recordings)), samples),
        "acceleration": np.concatenate([signal for _, _, signal in recordings]).astype(np.float32),
    }


def _recordings(
    machines: int, samples: int, states: Sequence[str], seed: int
) -> Iterator[tuple[int, str, Floats]]:
    for number, visit, state in product(range(machines), range(VISITS), states):
        machine = Machine.drawn(generator(seed, Domain.GENERATED_TASKS, number))
        random = generator(seed, Domain.GENERATED_TASKS, number, 1 + VISITS * STATES.index(state) + visit)
        yield number, state, machine.recording(state, samples, random)
