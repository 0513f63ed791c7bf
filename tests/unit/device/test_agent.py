"""The agent against a service and a repository that speak the real protocol, with real signatures."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acclimate_device import Device
from acclimate_device.agent import Agent
from acclimate_device.agent.transport import Response
from acclimate_device.errors import BundleError, TransportError, UntrustedError
from acclimate_device.protocol import (
    MANIFEST,
    DesiredState,
    PublicKey,
    dumps,
    seal,
)
from acclimate_device.storage import Assignment, FileFlash, Slots, Store
from acclimate_device.testing import GestureDevice, SimulatedFlash, tiny_bundle
from acclimate_device.testing.repository import SimulatedRepository
from acclimate_device.testing.service import SimulatedService
from tests.support.gateway import release_of, version


def test_a_version_travels_from_the_service_to_the_application_and_back_comes_a_report(gateway) -> None:
    gateway.ship(2)
    assert gateway.agent.poll()
    assert gateway.device.release.version == 1
    gateway.use()
    assert gateway.device.release == release_of(2)
    gateway.use()
    assert gateway.device._life.versions.boot.good == "a"
    gateway.device.close()
    assert gateway.agent.send_reports() == 2
    old, new = sorted(
        gateway.service.reports.values(), key=lambda report: report.started_at or report.counter
    )
    assert {old.release.version, new.release.version} == {1, 2}
    kinds = [event.kind for report in (old, new) for event in report.events]
    assert "installed" in kinds
    assert "confirmed" in kinds
    assert gateway.application().release == release_of(2)


def test_a_poll_that_changes_nothing_costs_one_request(gateway) -> None:
    gateway.agent.poll()
    before = gateway.service.requests
    assert not gateway.agent.poll()
    assert gateway.service.requests == before + 1


def test_unchanged_graphs_are_not_fetched_again(gateway) -> None:
    for number in (2, 3):
        gateway.ship(number)
        gateway.agent.poll()
        gateway.use()
        gateway.use()
    fetched = [path for path in gateway.repository.fetched if path.endswith("onnx")]
    assert len(fetched) == 2
    assert gateway.device.release == release_of(3)
    assert gateway.device._life.versions.boot.good == "b"


@pytest.mark.parametrize("cut_after", [0, 1, 300, 2000, 5000, 9000])
def test_a_download_goes_on_where_it_was_cut_off(gateway, cut_after: int) -> None:
    gateway.ship(2)
    gateway.repository.cut_after = cut_after
    honest, down = gateway.repository.get, []

    def get(path: str, headers: dict, most: int) -> Response:
        try:
            if down:
                raise TransportError(f"GET {path}: the network is down")
            return honest(path, headers, most)
        except TransportError as error:
            down.extend([] if error.status else [path])
            raise

    gateway.repository.get = get
    with pytest.raises(TransportError, match=r"broke|down"):
        gateway.agent.poll()
    assert Slots(Store(gateway.flash)).assignment() is None
    kept = sum(gateway.flash.size(name) for name in gateway.flash.names("download/"))
    assert kept == cut_after
    down.clear()
    assert gateway.agent.poll()
    gateway.use()
    assert gateway.device.release == release_of(2)
    assert not gateway.flash.names("download/")


def test_reset_drops_adapted_state_once(gateway) -> None:
    gateway.service.assign("hold")
    gateway.agent.poll()
    stream = GestureDevice(3)
    for x, y in stream.examples(24):
        gateway.device.learn_one(x, y)
    resets = gateway.device._life.recorder.resets
    gateway.service.assign("reset", gateway.device.release)
    gateway.repository.publish(tiny_bundle())
    gateway.agent.poll()
    gateway.device.tick()
    assert gateway.device._life.recorder.resets == resets + 1
    assert gateway.device._life.versions.boot.lineage == 1, "what was saved before is never read back"
    gateway.device.tick()
    assert gateway.device._life.recorder.resets == resets + 1


def test_hold_downloads_nothing_and_changes_nothing(gateway) -> None:
    gateway.ship(2, "hold")
    assert gateway.agent.poll()
    gateway.use()
    assert gateway.device.release.version == 1
    assert gateway.repository.fetched == []


# -- what a stolen or broken service can do ----------------------------------------------------------------


def test_a_state_signed_by_another_key_is_refused(gateway) -> None:
    thief = Ed25519PrivateKey.generate()
    key_id = PublicKey.of(thief.public_key().public_bytes_raw()).key_id
    gateway.service.envelope = dumps(seal(gateway.service.state, thief.sign, key_id))
    with pytest.raises(UntrustedError, match="no signature of a trusted key"):
        gateway.agent.poll()
    gateway.service.envelope = dumps(seal(gateway.service.state, thief.sign, gateway.service.public.key_id))
    with pytest.raises(UntrustedError, match="no signature of a trusted key"):
        gateway.agent.poll()


def test_a_state_for_another_device_or_fleet_is_refused(gateway) -> None:
    for changes in ({"device_id": "device-2"}, {"fleet": "others"}):
        gateway.service.state = replace(gateway.service.state, counter=9, **changes)
        with pytest.raises(UntrustedError, match="not for this device"):
            gateway.agent.poll()


def test_an_older_state_is_refused_and_so_is_another_one_with_the_same_counter(gateway) -> None:
    gateway.ship(2)
    old = gateway.service.state
    gateway.agent.poll()
    gateway.ship(3)
    gateway.use()
    gateway.use()
    gateway.agent.poll()
    newest = gateway.service.state
    gateway.service.state = old
    with pytest.raises(UntrustedError, match="replayed"):
        gateway.agent.poll()
    gateway.service.state = replace(newest, release=release_of(2))
    with pytest.raises(UntrustedError, match="two different"):
        gateway.agent.poll()
    assert Slots(Store(gateway.flash)).assignment() == Assignment(newest, "b")


def test_a_lost_assignment_record_does_not_let_older_states_in(gateway) -> None:
    gateway.ship(2)
    gateway.agent.poll()
    gateway.use()
    for name in gateway.flash.names("assignment"):
        gateway.flash.delete(name)
    gateway.service.state = replace(gateway.service.state, counter=1, action="hold")
    with pytest.raises(UntrustedError, match="replayed"):
        gateway.agent.poll()


def test_the_service_cannot_invent_weights(gateway) -> None:
    """It signs an assignment to a version nobody published, and serves files for it."""
    evil = version(666)
    gateway.repository.files |= {
        f"targets/{release_of(666).path}/{name}": data for name, data in evil.items()
    }
    gateway.service.assign("run", release_of(666))
    with pytest.raises(UntrustedError, match="no signed gestures/666"):
        gateway.agent.poll()
    gateway.use()
    assert gateway.device.release.version == 1


def test_a_version_with_another_content_hash_than_assigned_is_refused(gateway) -> None:
    gateway.ship(2)
    gateway.service.assign("run", replace(release_of(2), content_hash="f" * 64))
    with pytest.raises(UntrustedError, match="assigned was"):
        gateway.agent.poll()


def test_keys_of_the_service_rotate_by_a_signed_state(gateway) -> None:
    new = Ed25519PrivateKey.generate()
    public = PublicKey.of(new.public_key().public_bytes_raw())
    gateway.service.state = replace(gateway.service.state, counter=2, service_keys=(public,))
    assert gateway.agent.poll()
    gateway.service.state = replace(gateway.service.state, counter=3)
    with pytest.raises(UntrustedError):
        gateway.agent.poll()
    gateway.service.envelope = dumps(seal(gateway.service.state, new.sign, public.key_id))
    assert gateway.agent.poll()


def test_a_pinned_service_key_is_the_only_one_enrolled_with(tmp_path: Path) -> None:
    service = SimulatedService(SimulatedRepository())
    agent = Agent(service, SimulatedFlash(), service.repository.root, tmp_path)
    with pytest.raises(UntrustedError, match="not the configured service_key"):
        agent.service.enrol(service.token, "", {}, "A" * 43 + "=")
    assert agent.identity.enrolled() is None
    assert agent.service.enrol(service.token, "", {}, service.public.ed25519).device_id == "device-1"


# -- enrolment and tokens ----------------------------------------------------------------------------------


def test_enrolling_again_after_a_lost_answer_gives_the_same_device(gateway) -> None:
    again = gateway.agent.service.enrol(gateway.service.token, "", {}, "")
    assert again == gateway.agent.identity.enrolled()
    with pytest.raises(TransportError, match="403") as refused:
        Agent(gateway.service, SimulatedFlash(), b"", Path("unused")).service.enrol(
            "one-time-token", "", {}, ""
        )
    assert refused.value.problem.endswith("enrolment-refused")


def test_an_expired_token_is_fetched_anew(gateway) -> None:
    gateway.agent.poll()
    gateway.service._bearers.clear()
    assert not gateway.agent.poll()


def test_a_device_with_a_wrong_clock_corrects_itself(tmp_path: Path) -> None:
    service = SimulatedService(SimulatedRepository(), clock=lambda: 1_790_000_000.0)
    agent = Agent(service, SimulatedFlash(), service.repository.root, tmp_path, clock=lambda: 1000.0)
    agent.service.enrol(service.token, "", {}, "")
    assert agent.poll()


def test_a_round_that_fails_waits_longer_each_time_and_loses_nothing(gateway) -> None:
    gateway.use()
    gateway.device.close()
    gateway.service.offline = True
    longest = [max(gateway.agent._after_failure(TransportError("x")) for _ in range(5)) for _ in range(4)]
    assert longest[0] < longest[-1] <= 900.0
    gateway.agent._failures = 0
    assert gateway.agent.round() <= 4.0
    gateway.service.offline = False
    assert 48.0 <= gateway.agent.round() <= 72.0
    assert len(gateway.service.reports) == 1


def test_a_retired_device_stops(gateway) -> None:
    gateway.agent.poll()
    gateway.service._device_key, gateway.service._bearers = None, {}
    with pytest.raises(TransportError, match="403"):
        gateway.agent.round()


# -- trials ------------------------------------------------------------------------------------------------


def test_a_process_of_less_than_a_second_obeys_and_ends_a_trial_too(gateway, tmp_path) -> None:
    shipped = tmp_path / "bundle"
    shipped.mkdir()
    for name, content in tiny_bundle().items():
        (shipped / name).write_bytes(content)
    gateway.ship(2)
    gateway.agent.poll()
    for name in gateway.flash.names(""):
        content = gateway.flash.read(name)
        target = tmp_path / "state" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content or b"")
    with Device.open(shipped, state=tmp_path / "state") as device:
        assert device.release == release_of(2)
        for x, _ in GestureDevice(1).examples(25):
            device.predict_one(x)
    boot = Slots(Store(FileFlash(tmp_path / "state"))).boot()
    assert (boot.release, boot.trial) == (release_of(2), None)


def test_a_version_that_never_proves_itself_is_left_after_its_trials(gateway) -> None:
    gateway.ship(2)
    gateway.agent.poll()
    gateway.device.tick()
    assert gateway.device.release.version == 2
    assert [gateway.application().release.version for _ in range(4)] == [2, 2, 1, 1]
    last = gateway.application()
    assert last._life.versions.boot.failed == (release_of(2).content_hash,)
    last.tick()
    assert last.release.version == 1, "the same assignment is not obeyed twice"


def test_a_damaged_slot_is_left_for_the_factory_initialization(gateway) -> None:
    gateway.ship(2)
    gateway.agent.poll()
    gateway.use()
    gateway.use()
    gateway.flash.flip("a/params.safetensors", 9000)
    again = gateway.application()
    assert again.release.version == 1
    assert "factory" in [event.kind for event in again._life.recorder._events]
    with pytest.raises(BundleError):
        Device({}.get, SimulatedFlash())


def test_nothing_is_staged_over_a_version_that_may_be_needed(gateway) -> None:
    gateway.ship(2)
    gateway.agent.poll()
    gateway.use()
    gateway.use()
    gateway.ship(3)
    gateway.agent.poll()
    gateway.device.tick()  # version 3 is on trial in b, 2 is good in a
    gateway.ship(4)
    assert not gateway.agent.poll()
    assert {path.split("/")[0] for path in gateway.flash.names("")} >= {"a", "b"}
    gateway.use()
    gateway.use()  # 3 is good
    assert gateway.agent.poll()
    gateway.use()
    assert gateway.device.release == release_of(4)


def test_a_refused_bundle_is_told_once(gateway) -> None:
    gateway.service.assign("run", release_of(5))
    for _ in range(3):
        with pytest.raises(UntrustedError):
            gateway.agent.poll()
    gateway.agent.send_reports()
    (report,) = gateway.service.reports.values()
    assert report.refusals == {"UntrustedError": 1}
    assert report.events[0].source == "gestures/5"


def test_state_for_run_without_release_cannot_even_be_made() -> None:
    with pytest.raises(Exception, match="release"):
        DesiredState("d", "f", 1, "run")


def test_what_was_done_under_an_assignment_is_reported_under_it(gateway) -> None:
    """The service takes another version under the new counter for a failed installation, and losses from
    before a reset for losses after it."""
    gateway.ship(2)
    gateway.agent.poll()
    gateway.use(3)  # by version 1; the tick at its end switches
    first = gateway.service.state.counter
    gateway.use(4)  # by version 2
    gateway.ship(2, "reset")
    gateway.agent.poll()
    gateway.use(5)  # before the reset: the tick at its end obeys
    second = gateway.service.state.counter
    gateway.use(6)
    gateway.device.close()
    gateway.agent.send_reports()
    told = [(one.release.version, one.counter, one.predictions) for one in gateway.service.reports.values()]
    assert told == [(1, 0, 3), (2, first, 9), (2, second, 6)]


def test_damaged_files_of_the_good_version_are_fetched_again_and_it_runs_without_a_trial(
    gateway,
) -> None:
    gateway.ship(2)
    gateway.agent.poll()
    gateway.use()
    gateway.use()
    gateway.flash.flip("a/params.safetensors", 9000)
    gateway.device = gateway.application()
    assert gateway.device.release.version == 1
    fetched = len(gateway.repository.fetched)
    assert gateway.agent.poll()
    assert not gateway.agent.poll(), "once is enough"
    again = gateway.repository.fetched[fetched:]
    assert [path for path in again if path.endswith(".onnx")] == [], "only what was damaged"
    gateway.device.tick()
    assert gateway.device.release == release_of(2)
    boot = Slots(Store(gateway.flash)).boot()
    assert (boot.release, boot.trial, boot.damaged) == (release_of(2), None, None)


def test_an_assignment_to_a_slot_is_obeyed_only_with_its_own_release() -> None:
    flash = SimulatedFlash()
    slots = Slots(Store(flash))
    slots.stage("a", version(2))
    slots.save_assignment(Assignment(DesiredState("d", "f", 1, "run", release_of(3)), "a"))
    under_test = Device(tiny_bundle().get, flash)
    under_test.tick()
    assert under_test.release.version == 1
    assert not slots.holds("b", release_of(2))
    assert slots.holds("a", release_of(2))
    Store(flash).delete(f"a/{MANIFEST}")
    assert not slots.holds("a", release_of(2))
