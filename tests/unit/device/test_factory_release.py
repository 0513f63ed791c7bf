"""What a device was shipped with: never fetched while its image holds it, fetched where it does not."""

import pytest

from acclimate_device import Device
from acclimate_device.testing import tiny_bundle
from tests.support.gateway import release_of, version


def test_what_a_device_was_shipped_with_is_never_fetched(gateway) -> None:
    shipped = gateway.device.release
    gateway.repository.publish(tiny_bundle())
    gateway.service.assign("run", shipped)
    assert gateway.agent.poll()
    gateway.use()
    assert (gateway.device.release, gateway.device.slot) == (shipped, "factory")
    gateway.ship(2)
    gateway.agent.poll()
    gateway.use()
    assert gateway.device._life.versions.on_trial
    gateway.service.assign("run", shipped)
    assert gateway.agent.poll()
    gateway.device.tick()
    assert (gateway.device.release, gateway.device.slot) == (shipped, "factory")
    assert not any(f"/{shipped.version}/" in path for path in gateway.repository.fetched)


def test_what_a_device_was_shipped_with_is_not_fetched_after_others_either(gateway) -> None:
    shipped = gateway.device.release
    gateway.repository.publish(tiny_bundle())
    for number in (2, 3):  # both slots hold another one
        gateway.ship(number)
        gateway.agent.poll()
        gateway.use()
        gateway.use()
    gateway.service.assign("run", shipped)
    assert gateway.agent.poll()
    gateway.use()
    assert (gateway.device.release, gateway.device.slot) == (shipped, "factory")
    assert gateway.device._life.versions.on_trial
    gateway.use()
    boot = gateway.device._life.versions.boot
    assert (boot.good, boot.release, boot.trial) == ("factory", shipped, None)
    assert not any(f"/{shipped.version}/" in path for path in gateway.repository.fetched)


@pytest.mark.parametrize("went_on", [False, True])
def test_what_the_image_no_longer_holds_is_fetched(gateway, went_on: bool) -> None:
    shipped = gateway.device.release
    gateway.repository.publish(tiny_bundle())
    if went_on:
        gateway.ship(2)
        gateway.agent.poll()
        gateway.use()
        gateway.use()
    gateway.device.close()
    gateway.service.assign("run", shipped)
    assert gateway.agent.poll()
    gateway.device = Device(version(9).get, gateway.flash, clock=lambda: gateway.now)  # the image was updated
    gateway.use()
    assert gateway.device.release == release_of(2 if went_on else 9)
    assert gateway.agent.poll()
    assert not gateway.agent.poll()
    gateway.use()
    assert gateway.device.release == shipped
    assert gateway.device._life.versions.on_trial
    gateway.use()
    boot = gateway.device._life.versions.boot
    assert (boot.good, boot.release) == (gateway.device.slot, shipped)
    assert (boot.failed, boot.damaged) == ((), None)
