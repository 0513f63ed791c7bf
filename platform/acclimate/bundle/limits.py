"""What the smallest device of a fleet can carry, and refusing what does not fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from acclimate.errors import BundleError
from acclimate_device.protocol import LIMITS, Cost


@dataclass(frozen=True)
class DeviceLimits:
    """The most a bundle may cost; None leaves a figure unbounded. The names are those of the manifest's cost,
    and of `bundle.mcu.size.Footprint`.

    Attributes:
        parameters: numbers in the parameters.
        file_bytes: all files but the manifest; by default what every device accepts at most.
        peak_memory_bytes: tensor bytes alive at once in one adaptation step.
        macs_per_step: multiply-adds of one adaptation step over a full batch.
        macs_per_prediction: multiply-adds of one prediction.
        ram_bytes, flash_bytes, instructions_per_label, instructions_per_step: of a microcontroller, see
            `bundle.mcu.size`.
    """

    parameters: int | None = None
    file_bytes: int | None = LIMITS.bundle_bytes
    peak_memory_bytes: int | None = None
    macs_per_step: int | None = None
    macs_per_prediction: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    instructions_per_label: int | None = None
    instructions_per_step: int | None = None

    @staticmethod
    def declared(section: Mapping[str, object]) -> DeviceLimits:
        """The limits in a recipe's `device` section; what it leaves out keeps its default.

        Raises:
            BundleError: a key or a value is no limit.
        """
        known = [field.name for field in fields(DeviceLimits)]
        for name, value in section.items():
            if name not in known:
                raise BundleError(f"the recipe's device.{name} is no limit: use {', '.join(known)}")
            if value is not None and (type(value) is not int or value < 1):
                raise BundleError(f"the recipe's device.{name} is {value!r}: use a whole number above 0")
        given = {name: value for name, value in section.items() if isinstance(value, int)}
        return DeviceLimits(**given)

    def check(self, cost: Cost) -> None:
        """Refuse a cost above a limit.

        Raises:
            BundleError: naming every limit that is exceeded, its value and the bundle's.
        """
        exceeded = [
            f"{field.name} {getattr(cost, field.name):,} (at most {limit:,})"
            for field in fields(self)
            if (limit := getattr(self, field.name)) is not None and getattr(cost, field.name, 0) > limit
        ]
        if exceeded:
            raise BundleError(
                f"the bundle does not fit the declared device: {'; '.join(exceeded)}: "
                "train a smaller model, adapt fewer parameters or shots, or raise the limit"
            )
