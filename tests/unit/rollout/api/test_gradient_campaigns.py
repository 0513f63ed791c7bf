"""Devices that adapt by steps learn together: a round of Reptile by the real service."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acclimate_device.online.support import Support
from acclimate_device.runtime import GradientEngine
from acclimate_device.testing import tiny_bundle
from tests.unit.rollout.api.test_campaigns import Member, fleet, later, opened

pytestmark = pytest.mark.anyio


async def test_devices_give_how_far_their_steps_go(world):
    members = await fleet(world, 4, tiny_bundle())
    engines = [member.device._life.active.running.engine for member in members]
    numbers = sum(engines[0].start[name].size for name in engines[0].moving)
    gradients = {"features": 0, "outputs": 0, "parameters": numbers, "labels": 18}
    campaign = await opened(world, members, **gradients)
    assert campaign.round().kind == "gradients"
    for member in members:
        await member.gives(member.makes(await member.asked()))
    await later(world, 3601)
    shown = await world.call("GET", "/campaigns/campaign-1")
    assert (shown["campaign"]["state"], shown["numbers"]) == ("done", numbers)
    assert 0 < shown["campaign"]["right_after"] <= shown["campaign"]["tried_after"]
    result = np.frombuffer(world.service.store.campaign_result("campaign-1"), "<f8")

    ways = []
    for member, engine in zip(members, engines, strict=True):
        active = member.device._life.active
        assert isinstance(engine, GradientEngine)
        examples = member.device._life.learner.examples(active)
        support = Support(active.schema, len(examples), 1, len(examples) + 1)
        for one in examples:
            support.add(one.x, one.target)

        batches, adapted = support.batches(engine.adaptation.batch), engine.start
        for number in range(engine.adaptation.steps):
            adapted = engine.step(adapted, batches[number % len(batches)], number)[0]
        ways.append(np.concatenate([(engine.start[name] - adapted[name]).ravel() for name in engine.moving]))
    np.testing.assert_allclose(result, np.mean(ways, axis=0), atol=2.0**-15)
    few = Member(9, members[0].wire, labels=17, bundle=tiny_bundle())
    assert few.makes(replace(campaign.round(), labels=8)) is None  # fewer give some of them back
    assert members[0].makes(replace(campaign.round(), kind="moments")) is None
