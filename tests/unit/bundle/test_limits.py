"""The limits that a recipe declares are those that an export enforces."""

from dataclasses import fields

from acclimate.bundle.limits import DeviceLimits
from acclimate.training.sections import DeviceSection
from acclimate_device.protocol import LIMITS


def test_the_recipe_declares_exactly_what_the_export_enforces():
    assert set(DeviceSection.model_fields) == {field.name for field in fields(DeviceLimits)}


def test_what_a_recipe_leaves_out_keeps_its_default():
    assert DeviceLimits.declared(DeviceSection().model_dump()) == DeviceLimits()
    assert DeviceLimits.declared({"macs_per_step": 7}) == DeviceLimits(macs_per_step=7)
    assert DeviceLimits().file_bytes == LIMITS.bundle_bytes
