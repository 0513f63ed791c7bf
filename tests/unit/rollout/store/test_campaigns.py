"""What every store must do of campaigns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acclimate.rollout.domain.campaign import Campaign, moved
from acclimate.rollout.store import ConflictError, NotFoundError, Store
from tests.support.rollout_samples import NOW, OLD, a_fleet_with


def a_campaign(name: str, **fields: object) -> Campaign:
    return replace(
        Campaign(
            id=name,
            fleet="home",
            name=OLD.name,
            version=OLD.version,
            content_hash=OLD.content_hash,
            features=4,
            outputs=3,
            opened_at=NOW,
            closes_at=NOW + 60,
            created_by="ada",
            holder="one",
            held_at=NOW,
        ),
        **fields,
    )


class TestCampaigns:
    def test_a_fleet_has_one_live_campaign(self, store: Store):
        a_fleet_with(store)
        store.add_campaign(a_campaign("one"), "ada")
        with pytest.raises(ConflictError, match="stop one first"):
            store.add_campaign(a_campaign("two"), "ada")
        stopped = store.step_campaign("one", lambda it: moved(it, "stop"), NOW + 1, "ada", "stop", "a reason")
        assert stopped.state == "stopped"
        store.add_campaign(a_campaign("two", opened_at=NOW + 2), "ada")
        assert [one.id for one in store.campaigns("home")] == ["two", "one"]
        assert [one.id for one in store.campaigns(live=True)] == ["two"]
        assert [one.action for one in store.audit()][:2] == ["campaign.start", "campaign.stop"]
        with pytest.raises(NotFoundError, match="no campaign 'three'"):
            store.campaign("three")
        with pytest.raises(NotFoundError, match="absent"):
            store.add_campaign(a_campaign("four", fleet="absent"), "ada")

    def test_only_its_holder_holds_a_live_campaign(self, store: Store):
        a_fleet_with(store)
        store.add_campaign(a_campaign("one"), "ada")
        assert store.hold_campaign(a_campaign("one", held_at=NOW + 5, accepted=2))
        assert not store.hold_campaign(a_campaign("one", held_at=NOW + 9, holder="another"))
        found = store.campaign("one")
        assert (found.held_at, found.accepted) == (NOW + 5, 2)
        done = store.step_campaign(
            "one", lambda it: replace(it, state="done"), NOW, "service", "done", "", b"result"
        )
        assert done.state == "done"
        assert store.campaign_result("one") == b"result"
        assert not store.hold_campaign(a_campaign("one", held_at=NOW + 99))

    def test_contributions_count_once_and_refusals_add_up(self, store: Store):
        a_fleet_with(store)
        for _ in range(2):
            store.accept_contribution("home", "device-1", "one", NOW)
        assert store.refuse_contribution("home", "device-2", "one", "late") == 1
        assert store.refuse_contribution("home", "device-2", "two", "long") == 2
        assert store.refuse_contribution("home", "device-2", "two", "longer") == 3
        first, second = store.contributors("home", "one")
        assert (first.device, first.accepted_at, first.refusals) == ("device-1", NOW, 0)
        assert (second.device, second.accepted_at, second.reason) == ("device-2", None, "late")
        assert [one.refusals for one in store.contributors("home")] == [0, 1, 2]
