"""A device's storage against a model of it: under random faults, nothing acknowledged is ever lost."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from acclimate_device.agent.identity import Identity
from acclimate_device.clock import Clock
from acclimate_device.errors import StorageError
from acclimate_device.protocol import Enrolled, PublicKey, Report, dumps, loads
from acclimate_device.storage import Boot, Slots, Store
from acclimate_device.telemetry import ReportQueue
from acclimate_device.testing import PowerCutError, SimulatedFlash
from tests.unit.device.test_queue import report

OPERATIONS = 0
# Sums of these tell which minutes were merged: each minute has a bit of one of them. Times alone would not,
# for power may be cut before one of two neighbours was durable.
MARKS = (
    *("predictions", "mistakes", "steps", "adaptations", "kept_starts", "warnings", "drifts", "resets"),
    *("fallbacks", "alarms", "clamped", "events_dropped"),
)
BITS = 39  # a report counts up to a million million


class DeviceMachine(RuleBasedStateMachine):
    """One flash, an application's and an agent's view of it, a service, a network, a clock.

    Reports are numbered by minutes, and a merged one tells which it holds.
    """

    @initialize()
    def begin(self) -> None:
        self.flash = SimulatedFlash()
        self.wall, self.age = 1e9, 0.0
        self.minute = self.ids = 0
        self.kept: set[int] = set()  # durable by the queue's word
        self.given: set[int] = set()  # to the queue, which may still hold them in memory
        self.service: dict[str, bytes] = {}
        self.boot, self.maybe_boot = Boot(), [Boot()]
        self.start()
        self.key = Identity(Store(self.flash)).key().public
        Identity(Store(self.flash)).save(Enrolled("d", "f", (PublicKey("A" * 43 + "="),)))

    def new_id(self) -> str:
        """Not by chance: the same choices must lead to the same flash."""
        self.ids += 1
        return f"{random.Random(f'merged {self.ids}').getrandbits(128):032x}"

    def start(self) -> None:
        self.application, self.agent = Store(self.flash), Store(self.flash)
        self.queue = ReportQueue(self.application, max_bytes=12_000, batch=4, new_id=self.new_id)
        self.sender = ReportQueue(self.agent, max_bytes=12_000, batch=4, new_id=self.new_id)
        self.clock = Clock(lambda: self.wall, lambda: self.age)
        self.elapsed = self.clock.elapsed()

    @contextmanager
    def healthy(self) -> Iterator[None]:
        """The flash works meanwhile."""
        flash = self.flash
        faults, flash.cut_at, flash.refuses, flash.refused = (
            (flash.cut_at, flash.refuses, flash.refused),
            None,
            "",
            (),
        )
        yield
        flash.cut_at, flash.refuses, flash.refused = faults

    def attempt(self, call: object) -> bool:
        """Run something that the power may not survive; whether it ended."""
        global OPERATIONS
        OPERATIONS += 1
        try:
            call()
        except PowerCutError:
            chosen = random.Random(self.flash.calls)
            outcomes = []
            for left in self.flash.outcomes():
                outcomes.append(left)
                if len(outcomes) == 32:
                    break
            self.flash = chosen.choice(outcomes)
            self.restart()
            self.kept |= self.given  # what is there now is durable
            return False
        return True

    @rule(number=st.integers(1, 6))
    def add(self, number: int) -> None:
        for _ in range(min(number, BITS * len(MARKS) - self.minute)):
            minute, self.minute = self.minute, self.minute + 1
            self.given.add(minute)
            if not self.attempt(lambda minute=minute: self.queue.add(_marked(minute))):
                return
            if not self.queue.held:
                self.kept |= self.given

    @rule(answer=st.sampled_from(["arrives", "is lost", "settles half"]))
    def send(self, answer: str) -> None:
        def exchange() -> None:
            batch = self.sender.next_batch()
            if batch is None:
                return
            for one in batch.reports:
                taken = self.service.setdefault(one.id, dumps(one))
                assert taken == dumps(one), "the content under an id changed"
            settled = [one.id for one in batch.reports]
            if answer == "settles half":
                settled = settled[: len(settled) // 2]
            if answer != "is lost":
                self.sender.acknowledge(batch, settled)

        try:
            self.attempt(exchange)
        except StorageError:
            assert self.flash.refuses or self.flash.refused

    @rule()
    def obey(self) -> None:
        after = Boot(counter=self.boot.counter + 1, lineage=self.boot.lineage)
        self.maybe_boot = [*self.maybe_boot, after]
        try:
            if self.attempt(lambda: Slots(self.application).save_boot(after)):
                self.boot, self.maybe_boot = after, [after]
        except StorageError:
            assert self.flash.refuses or self.flash.refused

    @rule(calls=st.integers(0, 12))
    def cut_power_soon(self, calls: int) -> None:
        self.flash.cut_at = self.flash.calls + calls

    @rule()
    def restart(self) -> None:
        """What waited in memory is forgotten; its minutes are given out again."""
        self.start()
        with self.healthy():
            waiting = {minute for one in self.queue.reports() for minute in _minutes(dumps(one))}
        sent = {minute for one in self.service.values() for minute in _minutes(one)}
        assert self.kept <= waiting | sent, "a report that was kept is gone"
        self.kept |= sent
        self.given = waiting | sent
        self.minute = 1 + max(self.given, default=-1)

    @rule(refusal=st.sampled_from(["", "", "No space left on device", "Read-only file system"]))
    def flash_refuses(self, refusal: str) -> None:
        self.flash.refuses = refusal

    @rule(after=st.integers(0, 12), number=st.integers(1, 12))
    def calls_fail_soon(self, after: int, number: int) -> None:
        self.flash.refused = range(self.flash.calls + after, self.flash.calls + after + number)

    @rule(data=st.data())
    def wear(self, data: st.DataObject) -> None:
        """Damage one copy of something, and let it be read before the other one goes too."""
        with self.healthy():
            self.damage(data)

    def damage(self, data: st.DataObject) -> None:
        names = [
            name for name in self.flash.names("") if name.endswith((".0", ".1")) and self.flash.read(name)
        ]
        names = [name for name in names if self.flash.size(name[:-1] + "01"[name.endswith("0")])]
        if names:
            name = data.draw(st.sampled_from(names))
            record = name[:-2]
            Store(self.flash).read(record)
            how = data.draw(st.sampled_from(["flip", "gone", "foreign"]))
            if how == "flip":
                self.flash.flip(name, data.draw(st.integers(0, 8 * self.flash.size(name) - 1)))
            elif how == "gone":
                self.flash.delete(name)
            else:
                self.flash.write(f"outbox/{data.draw(st.integers(0, 99))}.tmp", b"x")
            assert Store(self.flash).read(record) is not None
            self.flash.sync_names("")

    @rule()
    def lose_the_seal(self) -> None:
        """Both copies of it: what was sent is not known then."""
        with self.healthy():
            Store(self.flash).delete("sealed")

    @rule(seconds=st.sampled_from([-1e9, -3600, -10, 0, 10, 3600, 1e9]))
    def set_clock(self, seconds: float) -> None:
        self.wall += seconds
        self.age += 1.0
        self.wall += 1.0
        assert abs(self.clock.leapt() - seconds) < 1e-3
        assert self.clock.elapsed() > self.elapsed
        self.elapsed = self.clock.elapsed()

    @invariant()
    def who_it_is_and_what_it_obeyed_stays(self) -> None:
        store = Store(self.flash)
        with self.healthy():
            assert Identity(store).key().public == self.key
            assert Slots(store).boot() in self.maybe_boot

    def teardown(self) -> None:
        """The network and the flash are fine again: everything that was kept arrives, once."""
        if not hasattr(self, "flash"):
            return
        self.flash.cut_at, self.flash.refuses, self.flash.refused = None, "", ()
        self.queue.flush()
        while batch := self.sender.next_batch():
            for one in batch.reports:
                self.service.setdefault(one.id, dumps(one))
            self.sender.acknowledge(batch, {one.id for one in batch.reports})
        counted: set[int] = set()
        for one in self.service.values():
            minutes = _minutes(one)
            assert not counted & minutes, f"counted twice: {counted & minutes}"
            counted |= minutes
        assert self.kept <= counted, self.kept - counted


def _mark(minute: int) -> tuple[str, int]:
    return MARKS[minute // BITS], 1 << minute % BITS


def _marked(minute: int) -> Report:
    name, bit = _mark(minute)
    return report(minute, **dict.fromkeys(MARKS, 0) | {name: bit})


def _minutes(raw: bytes) -> set[int]:
    one = loads(Report, raw, 10**6)
    spanned = range(int(one.started_at) // 60, int(one.ended_at) // 60)
    minutes = {minute for minute in spanned if getattr(one, _mark(minute)[0]) & _mark(minute)[1]}
    assert {spanned[0], spanned[-1]} <= minutes, "times of a window that is gone"
    assert len(minutes) == one.windows, "a window is gone, or counted twice"
    sums = dict.fromkeys(MARKS, 0)
    for name, bit in map(_mark, minutes):
        sums[name] += bit
    assert sums == {name: getattr(one, name) for name in MARKS}, "a window is counted twice"
    return minutes


def run(examples: int, steps: int, chosen: int) -> None:
    """Random operations that the seed `chosen` decides."""
    shown = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    run_state_machine_as_test(seed(chosen)(DeviceMachine), settings=shown)


def test_hundreds_of_random_operations_lose_nothing() -> None:
    run(12, 50, 0)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_a_million_random_operations_lose_nothing(part: int) -> None:
    before = OPERATIONS
    while before + int(os.environ.get("ACCLIMATE_OPERATIONS", "1000000")) // 10 > OPERATIONS:
        run(50, 200, 1 + 10_000 * part + OPERATIONS)
    print(f"device: {OPERATIONS - before} random operations survived")
