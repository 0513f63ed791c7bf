"""The report queue: every report exactly once, whatever happens to the power or the network."""

import functools
import random
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from acclimate_device.protocol import LIMITS, Event, Release, Report, Resources, Summary, dumps, loads
from acclimate_device.storage import FileFlash, Store
from acclimate_device.telemetry import (
    Recorder,
    ReportQueue,
    Sketch,
    merge_reports,
    merge_summaries,
    quantile,
    resources,
)
from acclimate_device.testing.flash import TORN, PowerCutError, SimulatedFlash

RELEASE = Release("watch", 7, "ab" * 32)


def sketch(*values: float) -> Summary:
    made = Sketch()
    for value in values:
        made.add(value)
    return made.summary()


def report(number: int, **changes: object) -> Report:
    """The report of minute `number`, as a busy device would make it."""
    made_id = f"{random.Random(number).getrandbits(128):032x}"
    spans = {"id": made_id, "started_at": 60.0 * number, "ended_at": 60.0 * number + 60.0}
    return replace(_content(number % 500), **spans, **changes)


@functools.cache
def _content(number: int) -> Report:
    rng = random.Random(number)
    return Report(
        "0" * 32,
        0.0,
        60.0,
        RELEASE,
        3,
        "a",
        predictions=60 + number % 3,
        mistakes=number % 5,
        adapted_loss=sketch(*(rng.expovariate(2.0) for _ in range(12))),
        predict_us=sketch(*(rng.lognormvariate(4, 0.3) for _ in range(60))),
        adapt_us=sketch(rng.lognormvariate(7, 0.3)),
        steps=5,
        adaptations=1,
        resources=Resources(58_000_000 + rng.randrange(10**6), number * 0.6, number * 60.0),
    )


def totals(reports: tuple[Report, ...]) -> tuple[int, ...]:
    counted = [(one.windows, one.predictions, one.adapted_loss.count, one.steps) for one in reports]
    return tuple(map(sum, zip(*counted, strict=True)))


def test_what_is_added_waits_in_order_and_goes_when_acknowledged(tmp_path: object) -> None:
    queue, added = ReportQueue(Store(FileFlash(tmp_path))), [report(number) for number in range(130)]
    for one in added:
        queue.add(one)
    assert list(ReportQueue(Store(FileFlash(tmp_path))).reports()) == added
    sent = []
    while batch := queue.next_batch():
        assert len(batch.reports) <= 64
        sent.extend(batch.reports)
        queue.acknowledge(batch, {one.id for one in batch.reports})
    assert sent == added
    assert queue.reports() == ()


def test_what_was_sent_stays_the_same_until_it_is_acknowledged() -> None:
    queue = ReportQueue(Store(SimulatedFlash()), max_bytes=6000)
    for number in range(5):
        queue.add(report(number))
    first = queue.next_batch()
    for number in range(5, 300):
        queue.add(report(number))
    assert queue.next_batch().reports[:5] == first.reports
    assert totals(queue.reports()) == totals(tuple(report(number) for number in range(300)))


def test_what_the_receipt_leaves_out_is_sent_again() -> None:
    queue = ReportQueue(Store(SimulatedFlash()))
    for number in range(3):
        queue.add(report(number))
    first = queue.next_batch()
    queue.acknowledge(first, {first.reports[0].id, first.reports[2].id})
    assert queue.next_batch().reports == first.reports[1:2]


@pytest.mark.slow
def test_a_month_at_four_an_hour_fits_two_megabytes_unmerged() -> None:
    queue = ReportQueue(Store(SimulatedFlash()))
    month = 30 * 24 * 4
    for number in range(month):
        queue.add(report(number))
    assert queue.size() <= 2_000_000
    waiting = queue.reports()
    assert len(waiting) == month
    assert totals(waiting) == totals(tuple(report(number) for number in range(month)))


def test_beyond_its_bytes_the_queue_merges_the_oldest_and_loses_no_count() -> None:
    queue = ReportQueue(Store(SimulatedFlash()), max_bytes=400_000)
    added = tuple(report(number) for number in range(1500))
    for one in added:
        queue.add(one)
    waiting = queue.reports()
    assert queue.size() <= 400_000
    assert len(waiting) < len(added)
    assert totals(waiting) == totals(added)
    assert waiting[-1] == added[-1]
    assert [one.started_at for one in waiting] == sorted(one.started_at for one in waiting)
    assert waiting[0].windows >= waiting[-1].windows


def test_reports_of_different_versions_are_never_merged() -> None:
    queue = ReportQueue(Store(SimulatedFlash()), max_bytes=20_000)
    for number in range(800):
        queue.add(report(number, counter=number // 200))
    waiting = queue.reports()
    assert {one.counter for one in waiting} == {0, 1, 2, 3}
    for counter in range(4):
        assert sum(one.windows for one in waiting if one.counter == counter) == 200


def test_a_merged_report_is_the_report_of_both_windows() -> None:
    one = report(1, events=(Event(1.0, "drift"),) * 10, refusals={"InputError": 1})
    two = report(2, events=(Event(2.0, "reset"),) * 10, refusals={"InputError": 2, "LabelError": 1})
    both = merge_reports(one, two, "f" * 32)
    assert (both.started_at, both.ended_at, both.windows) == (60.0, 180.0, 2)
    assert (len(both.events), both.events_dropped) == (16, 4)
    assert both.refusals == {"InputError": 3, "LabelError": 1}
    assert both.resources == two.resources
    assert sum(count for _, count in both.predict_us.sketch) == both.predict_us.count


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_of_merged_sketches_are_within_nine_percent(share: float) -> None:
    rng = random.Random(5)
    values = [rng.lognormvariate(0, 2) for _ in range(4000)]
    merged = merge_summaries(sketch(*values[:1000]), sketch(*values[1000:]))
    exact = sorted(values)[int(share * (len(values) - 1))]
    assert quantile(merged, share) == pytest.approx(exact, rel=0.091)
    assert merged.sum == pytest.approx(sum(values), rel=1e-6)


def test_a_sketch_takes_zero_and_the_huge_and_stays_small() -> None:
    made = sketch(0.0, 1e-30, 1e300, 5.0)
    assert (made.count, made.maximum, made.sum) == (4, LIMITS.number, LIMITS.number)
    assert quantile(made, 0.0) == 0.0
    assert made.sketch[-1] == (120, 1)


def test_power_cut_at_every_call_keeps_every_report_exactly_once() -> None:
    """Adds, seals, sends and merges; each added report is on flash or acknowledged, and counted once."""
    cuts = 0
    for first, torn in enumerate(TORN):
        cut_at = first % 2  # every other call, two of each kind of damage take turns
        while _survives_a_cut(cut_at, torn):
            cut_at += 2
            cuts += 1
    print(f"report queue: {cuts} power cuts survived")
    assert cuts > 150


def _survives_a_cut(cut_at: int, torn: str) -> bool:
    flash = SimulatedFlash(cut_at, torn)
    added: list[Report] = []
    trying: list[Report] = []
    service: dict[str, bytes] = {}
    queue = ReportQueue(Store(flash), max_bytes=6000, batch=4)
    completed = False
    try:
        for number in range(16):
            trying = [report(number)]
            queue.add(trying[0])
            added.append(trying.pop())
            if number in (6, 11, 12):
                _send(queue, service)
        completed = True
    except PowerCutError:
        pass
    after = ReportQueue(Store(flash.after_power_cut()), max_bytes=6000, batch=4)
    while _send(after, service):
        pass
    got = _minutes(service)
    expected = {int(one.started_at) for one in added}
    assert expected <= got.keys() <= expected | {int(one.started_at) for one in trying}
    assert not completed or sum(got.values()) == len(added)
    return not completed


def _send(queue: ReportQueue, service: dict[str, bytes]) -> bool:
    batch = queue.next_batch()
    if batch is None:
        return False
    for one in batch.reports:
        assert service.setdefault(one.id, dumps(one)) == dumps(one), "the content under an id changed"
    queue.acknowledge(batch, {one.id for one in batch.reports})
    return True


def _minutes(service: dict[str, bytes]) -> dict[int, int]:
    """How often each minute was counted, read from merged reports by their spans; overlaps are an error."""
    counted: dict[int, int] = {}
    for data in service.values():
        one = loads(Report, data, 10**6)
        starts = range(int(one.started_at), int(one.ended_at), 60)
        assert len(starts) == one.windows, "windows were lost or counted twice"
        for start in starts:
            assert start not in counted, f"minute {start} was counted twice"
            counted[start] = 1
    return counted


def test_a_report_tells_when_it_began_and_what_the_process_takes() -> None:
    used = resources()
    made = Recorder(100.0).close("a" * 32, 1e9, 160.0, RELEASE, 1, "a", used)
    assert (made.started_at, made.ended_at) == (1e9 - 60.0, 1e9)
    told = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
    assert used.rss_bytes == pytest.approx(int(told) * 1024, rel=0.2)


def records(*sizes: int, sealed: int = 10**6, batch: int = 4) -> tuple[ReportQueue, list[list[Report]]]:
    """A queue whose records hold so many reports each, and those reports."""
    store, first, made = Store(SimulatedFlash()), 0, []
    for size in sizes:
        made.append([report(number) for number in range(first, first + size)])
        name = f"outbox/{first:010d}-{first + size - 1:010d}"
        store.write(name, zlib.compress(b"\n".join(map(dumps, made[-1]))))
        first += size
    store.write("sealed", str(min(sealed, first - 1)).encode())
    return ReportQueue(store, batch=batch), made


def test_a_batch_is_filled_with_whole_records_and_only_a_record_beyond_it_is_sent_alone() -> None:
    queue, made = records(2, 2, 1, 3, 6, 1)
    batches = []
    while batch := queue.next_batch():
        batches.append(list(batch.reports))
        queue.acknowledge(batch, {one.id for one in batch.reports})
    assert batches == [made[0] + made[1], made[2] + made[3], made[4], made[5]]


def test_a_batch_counts_what_still_waits_of_a_record() -> None:
    queue, made = records(4, 3)
    queue.acknowledge(queue.next_batch(), {one.id for one in made[0][:3]})
    assert list(queue.next_batch().reports) == [made[0][3], *made[1]]


def test_what_is_merged_is_merged_evenly() -> None:
    store = Store(SimulatedFlash())
    queue = ReportQueue(store, max_bytes=30_000, batch=4)
    for number in range(200):
        queue.add(report(number))
    spans = [name.removeprefix("outbox/").split("-") for name in store.names("outbox/")]
    packs = [int(last) - int(first) + 1 for first, last in spans if first != last]
    assert len(packs) > 4
    assert max(packs) <= 2 * min(packs)


def test_a_receipt_that_settles_nothing_writes_nothing() -> None:
    flash = SimulatedFlash()
    queue = ReportQueue(Store(flash))
    for number in range(3):
        queue.add(report(number))
    batch = queue.next_batch()
    calls = flash.calls
    queue.acknowledge(batch, set())
    assert flash.calls == calls
    assert queue.next_batch() == batch


def test_a_record_inside_any_other_is_superseded_and_goes() -> None:
    queue, made = records(2, 4, 3)
    store = queue._store
    for number in (0, 3, 4, 8):  # as a power cut leaves them while neighbours are packed
        store.write(f"outbox/{number:010d}-{number:010d}", dumps(report(number)))
    assert list(queue.reports()) == [one for each in made for one in each]
    assert len(store.names("outbox/")) == 3


def test_a_report_is_sealed_as_it_comes_only_while_all_before_it_are() -> None:
    store = Store(SimulatedFlash())
    queue = ReportQueue(store, batch=4)
    for number in range(6):
        queue.add(report(number))
        assert store.read("sealed") == str(min(number, 3)).encode()
    batch = queue.next_batch()
    queue.acknowledge(batch, {one.id for one in batch.reports})
    queue.add(report(6))  # behind two that may still be merged
    assert store.read("sealed") == b"3"
    assert queue.next_batch().reports == tuple(report(number) for number in (4, 5, 6))


def test_a_record_of_nothing_is_set_aside() -> None:
    store = Store(SimulatedFlash())
    store.write("outbox/0000000000-0000000000", b"")
    assert ReportQueue(store).next_batch() is None
    assert store.names("outbox/") == []
