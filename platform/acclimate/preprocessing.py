"""A model's preprocessing, from its schema and normalization: the platform's side of the device's code."""

from __future__ import annotations

from acclimate.initialization import InputSchema, Normalization
from acclimate_device.preprocessing import Preparation
from acclimate_device.protocol import Preprocessing


def preprocessing(schema: InputSchema, normalization: Normalization) -> Preprocessing:
    """The steps before the graphs, as a manifest holds them."""
    return Preprocessing(
        missing=schema.missing,
        relative=schema.relative,
        offset=normalization.offset,
        low=normalization.low,
        high=normalization.high,
        beyond=schema.beyond,
        still=normalization.still,
        absent=schema.absent,
        step_s=schema.step_s,
        pause=schema.pause,
    )


def preparation(schema: InputSchema, normalization: Normalization, axes: int) -> Preparation:
    """The steps as code, for inputs of so many axes."""
    steps = preprocessing(schema, normalization)
    return Preparation(schema.channels, axes, normalization.mean, normalization.scale, steps)
