"""What every store must do of fleets, devices, tokens and leases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.rollout.domain import rollout as life
from acclimate.rollout.domain.access import ApiToken, AuditEntry, EnrolmentToken
from acclimate.rollout.store import (
    ConflictError,
    EnrolmentRefusedError,
    LeaseLostError,
    NotFoundError,
    Store,
    leases,
)
from acclimate_device.protocol import Start
from tests.support.rollout_samples import (
    NEW,
    NOW,
    OLD,
    a_decision,
    a_device,
    a_fleet,
    a_fleet_with,
    a_rollout,
    a_running,
    lead,
)
from tests.support.together import at_once


class TestFleets:
    def test_a_fleet_comes_back_as_it_was_made(self, store: Store):
        made = store.add_fleet(a_fleet(poll_interval_s=30.0), "ada")
        assert store.fleet("home") == made
        assert store.fleets() == [made]

    def test_a_second_fleet_of_that_name_is_refused(self, store: Store):
        store.add_fleet(a_fleet(), "ada")
        with pytest.raises(ConflictError, match="'home' exists"):
            store.add_fleet(a_fleet(), "ada")

    def test_an_unknown_fleet_is_named(self, store: Store):
        with pytest.raises(NotFoundError, match="no fleet 'nowhere'"):
            store.fleet("nowhere")

    def test_configuring_raises_the_revision_and_keeps_the_rest(self, store: Store):
        before = store.add_fleet(a_fleet(), "ada")
        after = store.configure_fleet("home", NOW + 1, "ada", poll_interval_s=10.0)
        # The interval is part of what devices are told, so no assignment keeps its counter.
        assert after == replace(before, poll_interval_s=10.0, revision=after.revision, floor=after.revision)
        assert after.revision > before.revision

    def test_a_baseline_is_what_the_fleet_runs_from_then_on(self, store: Store):
        store.add_fleet(a_fleet(), "ada")
        store.set_baseline("home", "", OLD, NOW, "ada")
        fleet = store.set_baseline("home", 'site == "A"', NEW, NOW + 1, "ada")
        assert [(one.release, one.target) for one in fleet.baselines] == [(NEW, 'site == "A"'), (OLD, "")]
        assert store.fleet("home") == fleet

    def test_no_baseline_moves_under_a_live_rollout(self, store: Store):
        a_fleet_with(store)
        a_running(store)
        with pytest.raises(ConflictError, match="rollout-1"):
            store.set_baseline("home", "", OLD, NOW, "ada")


class TestDevices:
    def test_a_second_machine_holds_a_device_until_somebody_resolves_it(self, store: Store):
        a_fleet_with(store, 2)
        one, other = Start("a" * 32, 5, "1" * 64), Start("b" * 32, 5, "2" * 64)
        name = a_device(0).id
        before = store.start("home", name, one, NOW)
        assert store.start("home", name, one, NOW + 1) == before == store.device("home", name)
        held = store.start("home", name, other, NOW + 2)
        assert held.doubled_at == NOW + 2
        assert "other hardware" in held.doubled
        assert held.revision > before.revision, "every replica learns of it"
        assert store.start("home", name, one, NOW + 3) == held
        assert store.doubled_devices("home") == [held]
        assert [one.id for one in store.members("home") if one.doubled] == [name]
        assert (audit := store.audit()[0]).action == "device.doubled"
        assert name in audit.detail
        resolved = store.resolve_device("home", name, NOW + 4, "ada")
        assert (resolved.doubled_at, resolved.doubled) == (None, "")
        assert store.doubled_devices("home") == []
        assert (
            store.start("home", name, one, NOW + 5)
            == resolved
            == store.resolve_device("home", name, NOW, "ada")
        )

    def test_devices_come_in_pages_by_id(self, store: Store):
        a_fleet_with(store, 5)
        first = store.devices("home", limit=2)
        assert [device.id for device in first] == ["device-00000", "device-00001"]
        assert [device.id for device in store.devices("home", after=first[-1].id, limit=2)] == [
            "device-00002",
            "device-00003",
        ]
        assert [device.id for device in store.devices("home", contains="0004")] == ["device-00004"]
        assert store.devices("home", contains="%") == []

    def test_a_bulk_with_a_known_device_adds_none(self, store: Store):
        a_fleet_with(store, 2)
        with pytest.raises(ConflictError):
            store.add_devices([a_device(7), a_device(1)], NOW, "ada")
        assert store.count_devices("home") == 2

    def test_the_quota_is_kept(self, store: Store):
        store.add_fleet(a_fleet(device_quota=1), "ada")
        with pytest.raises(EnrolmentRefusedError, match="room for 1"):
            store.add_devices([a_device(1), a_device(2)], NOW, "ada")

    def test_new_attributes_raise_the_devices_revision_and_equal_ones_do_not(self, store: Store):
        a_fleet_with(store, 1)
        before = store.device("home", "device-00000")
        after = store.set_attributes("home", before.id, {"site": "A"}, NOW + 1, "ada")
        assert after.revision == store.fleet("home").revision > before.revision
        again = store.set_attributes("home", before.id, {"site": "A"}, NOW + 2, "ada")
        assert again == after == store.device("home", before.id)

    def test_a_retired_device_ends_its_tokens_and_leaves_the_list(self, store: Store):
        a_fleet_with(store, 2)
        retired = store.retire_device("home", "device-00000", NOW + 1, "ada")
        assert (retired.retired_at, retired.epoch) == (NOW + 1, 2)
        assert [device.id for device in store.devices("home")] == ["device-00001"]
        assert len(store.devices("home", retired=True)) == 2
        assert store.count_devices("home") == 1

    def test_changes_are_what_happened_since(self, store: Store):
        a_fleet_with(store, 3)
        [all_of_it] = store.changes({})
        assert sorted(member.id for member in all_of_it.members) == [f"device-0000{n}" for n in range(3)]
        known = {"home": all_of_it.fleet.revision}
        assert store.changes(known) == []
        store.retire_device("home", "device-00001", NOW + 1, "ada")
        store.set_attributes("home", "device-00002", {"site": "A"}, NOW + 2, "ada")
        [some] = store.changes(known)
        found = {member.id: (member.retired, dict(member.attributes)) for member in some.members}
        assert found == {"device-00001": (True, {}), "device-00002": (False, {"site": "A"})}

    def test_changes_bring_the_live_rollout(self, store: Store):
        a_fleet_with(store)
        running = a_running(store)
        [changed] = store.changes({})
        assert changed.live == running
        assert changed.fleet.revision >= running.opened[0].revision


class TestEnrolment:
    TOKEN = EnrolmentToken("batch", "home", "f" * 64, NOW, "ada", quota=2)

    def test_a_token_lets_in_as_many_devices_as_it_says(self, store: Store):
        a_fleet_with(store)
        store.add_enrolment_token(self.TOKEN, "ada")
        for number in (1, 2):
            assert store.enrol("f" * 64, a_device(number), NOW).enrolment == "batch"
        with pytest.raises(EnrolmentRefusedError, match="2 devices"):
            store.enrol("f" * 64, a_device(3), NOW)
        assert [token.used for token in store.enrolment_tokens("home")] == [2]

    def test_a_lost_answer_costs_no_use(self, store: Store):
        a_fleet_with(store)
        store.add_enrolment_token(self.TOKEN, "ada")
        first = store.enrol("f" * 64, a_device(1), NOW)
        again = store.enrol("f" * 64, replace(a_device(1), id="another-id"), NOW + 5)
        assert again == first
        assert [token.used for token in store.enrolment_tokens("home")] == [1]

    def test_the_same_key_enrols_again_with_a_new_token_as_the_same_device(self, store: Store):
        a_fleet_with(store)
        store.add_enrolment_token(self.TOKEN, "ada")
        store.add_enrolment_token(replace(self.TOKEN, id="later", hash="e" * 64), "ada")
        first = store.enrol("f" * 64, a_device(1), NOW)
        for number, hardware in ((5, "1"), (5, "2")):
            store.start("home", first.id, Start(hardware * 32, number, hardware * 64), NOW + 4)
        assert store.device("home", first.id).doubled_at is not None
        again = store.enrol("e" * 64, replace(a_device(1), attributes={"site": "B"}), NOW + 5)
        assert (again.doubled_at, again.doubled) == (None, ""), "whoever made the token knew"
        assert store.start("home", first.id, Start("3" * 32, 1, "3" * 64), NOW + 6).doubled_at is None
        assert (again.id, again.enrolment, again.attributes) == (first.id, "later", {"site": "B"})
        assert again.epoch == first.epoch + 1, "the bearer tokens it had are void"
        assert store.device("home", first.id) == again
        assert store.count_devices("home") == 1
        store.retire_device("home", first.id, NOW + 6, "ada")
        still = store.enrol("e" * 64, a_device(1), NOW + 7)
        assert still.retired_at is not None, "a token brings no retired device back"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"expires_at": NOW - 1}, "expired"),
            ({"revoked_at": NOW - 1}, "revoked"),
            ({"hash": "0" * 64}, "unknown"),
        ],
    )
    def test_a_token_that_no_longer_holds_is_refused(
        self, store: Store, change: dict[str, object], reason: str
    ):
        a_fleet_with(store)
        store.add_enrolment_token(replace(self.TOKEN, **change), "ada")
        with pytest.raises(EnrolmentRefusedError, match=reason):
            store.enrol("f" * 64, a_device(1), NOW)

    def test_two_devices_never_share_the_last_use(self, store: Store):
        a_fleet_with(store)
        store.add_enrolment_token(replace(self.TOKEN, quota=1), "ada")
        outcomes = at_once(lambda number: store.enrol("f" * 64, a_device(number), NOW), range(8))
        assert sorted(type(one).__name__ for one in outcomes) == ["Device"] + ["EnrolmentRefusedError"] * 7

    def test_what_another_replica_let_in_and_an_operator_retired_counts(self, store: Store, twin: Store):
        a_fleet_with(store)
        store.configure_fleet("home", NOW, "ada", device_quota=3)
        store.add_enrolment_token(replace(self.TOKEN, quota=4), "ada")
        for number, replica in enumerate((store, twin, store)):
            replica.enrol("f" * 64, a_device(number), NOW)
        with pytest.raises(EnrolmentRefusedError, match="room for 3 devices"):
            store.enrol("f" * 64, a_device(3), NOW)
        twin.retire_device("home", a_device(0).id, NOW, "ada")
        store.enrol("f" * 64, a_device(3), NOW)
        store.configure_fleet("home", NOW, "ada", device_quota=9)
        for replica in (store, twin):
            with pytest.raises(EnrolmentRefusedError, match="let in 4 devices"):
                replica.enrol("f" * 64, a_device(4), NOW)


class TestAccess:
    def test_api_tokens_are_kept_by_hash_and_can_be_revoked(self, store: Store):
        token = ApiToken("t1", "ci", "operator", "e" * 64, NOW, "ada", expires_at=NOW + 10)
        store.add_api_token(token, "ada")
        assert store.api_tokens() == [token]
        store.revoke_api_token("t1", NOW + 1, "ada")
        assert store.api_tokens() == [replace(token, revoked_at=NOW + 1)]
        with pytest.raises(NotFoundError, match="'t9'"):
            store.revoke_api_token("t9", NOW, "ada")

    def test_an_administrator_of_all_fleets_can_always_enter(self, store: Store):
        first = ApiToken("t1", "first", "admin", "a" * 64, NOW, "ada")
        lesser = [
            ApiToken("t2", "viewer", "viewer", "b" * 64, NOW, "ada"),
            ApiToken("t3", "of home", "admin", "c" * 64, NOW, "ada", fleet="home"),
            ApiToken("t4", "past", "admin", "d" * 64, NOW, "ada", expires_at=NOW + 1),
        ]
        store.add_fleet(a_fleet(), "ada")
        for token in (*lesser, first):
            store.add_api_token(token, "ada")
        with pytest.raises(ConflictError, match="last token"):
            store.revoke_api_token("t1", NOW + 2, "ada", keep_one=True)
        for token in lesser:
            store.revoke_api_token(token.id, NOW + 2, "ada", keep_one=True)
        store.add_api_token(ApiToken("t5", "second", "admin", "e" * 64, NOW, "ada"), "ada")
        store.revoke_api_token("t1", NOW + 2, "ada", keep_one=True)
        store.revoke_api_token("t5", NOW + 2, "ada")
        assert store.add_first_admin(ApiToken("t6", "again", "admin", "f" * 64, NOW + 3, "start"), "start")

    def test_two_administrators_do_not_lock_each_other_out(self, store: Store):
        for name in ("t1", "t2"):
            store.add_api_token(ApiToken(name, name, "admin", name * 32, NOW, "ada"), "ada")
        outcomes = at_once(lambda name: store.revoke_api_token(name, NOW, "ada", keep_one=True), ("t1", "t2"))
        assert sorted(type(one).__name__ for one in outcomes) == ["ConflictError", "NoneType"]

    def test_the_audit_log_tells_who_did_what_newest_first(self, store: Store):
        a_fleet_with(store, 1)
        store.add_audit(AuditEntry(NOW, "bob", "login.refused", "console"))
        entries = store.audit()
        assert [(one.actor, one.action) for one in entries] == [
            ("bob", "login.refused"),
            ("ada", "device.add"),
            ("ada", "fleet.create"),
        ]
        assert store.audit(before=entries[0].sequence, limit=1) == entries[1:2]
        assert len(store.audit(fleet="home")) == 2
        assert [one.action for one in store.audit(fleet="home", actions=["device.add"])] == ["device.add"]

    def test_a_proof_is_spent_once_until_it_is_stale(self, store: Store):
        assert store.spend_proof("d-1", "a" * 32, NOW + 10)
        assert not store.spend_proof("d-1", "a" * 32, NOW + 10)
        assert store.spend_proof("d-2", "a" * 32, NOW + 10)
        store.forget_proofs(NOW + 9)
        assert not store.spend_proof("d-1", "a" * 32, NOW + 20)
        store.forget_proofs(NOW + 11)
        assert store.spend_proof("d-1", "a" * 32, NOW + 20)

    def test_all_replicas_get_the_same_secret(self, store: Store):
        assert store.secret("mac", b"first") == b"first"
        assert store.secret("mac", b"second") == b"first"


class TestLeases:
    def test_one_leads_and_the_next_one_fences_it_off(self, store: Store):
        a_fleet_with(store)
        store.add_rollout(a_rollout(), "ada")
        first = store.acquire_lease("controller", "one", NOW, 10.0)
        assert first is not None
        assert store.acquire_lease("controller", "two", NOW + 9, 10.0) is None
        second = store.acquire_lease("controller", "two", NOW + 10, 10.0)
        assert second is not None
        assert second.token > first.token
        for write in (
            lambda: store.record_decision(a_decision("wait"), first.token),
            lambda: store.save_observations("rollout-1", [], 0, first.token),
            lambda: store.prune(NOW, first.token),
            lambda: store.step_rollout(
                "rollout-1", lambda one, _: life.start(one, NOW), a_decision("start"), token=first.token
            ),
        ):
            with pytest.raises(LeaseLostError):
                write()
        store.record_decision(a_decision("wait"), second.token)

    def test_a_lease_from_a_clock_that_was_ahead_ends_with_its_term(self, store: Store, monkeypatch):
        passed = 0.0
        monkeypatch.setattr(leases, "monotonic", lambda: passed)
        ahead = NOW + 3_600
        first = store.acquire_lease("controller", "one", ahead, 10.0)
        assert store.acquire_lease("controller", "two", NOW, 10.0) is None
        passed = 9.0
        assert store.acquire_lease("controller", "one", ahead + 9, 10.0) is not None  # it lives
        passed = 12.0
        assert store.acquire_lease("controller", "two", NOW + 12, 10.0) is None
        passed = 21.0
        assert store.acquire_lease("controller", "two", NOW + 21, 10.0) is None
        passed = 22.0
        second = store.acquire_lease("controller", "two", NOW + 22, 10.0)
        assert first is not None
        assert second is not None
        assert second.token > first.token

    def test_renewing_keeps_the_token_and_releasing_lets_the_next_in(self, store: Store):
        first = store.acquire_lease("controller", "one", NOW, 10.0)
        renewed = store.acquire_lease("controller", "one", NOW + 5, 10.0)
        assert first is not None
        assert renewed is not None
        assert (renewed.token, renewed.expires_at) == (first.token, NOW + 15)
        store.release_lease(renewed)
        assert store.acquire_lease("controller", "two", NOW + 6, 10.0) is not None

    def test_an_expired_leader_that_returns_gets_a_new_token(self, store: Store):
        first = lead(store, "one", NOW)
        assert lead(store, "one", NOW + 60) > first
