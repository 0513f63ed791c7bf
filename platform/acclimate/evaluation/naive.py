"""Forecasts that need no model: what a forecast has to beat to be worth a device.

Everything works on normalized inputs as episodes hold them, `(..., channels, time)` with the latest value
last, and gives outputs as a model does, `(..., leads * targets)`, lead by lead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from acclimate.initialization import InputSchema

Forecast = Callable[[Tensor], Tensor]

PERSISTENCE = "last value"


def naive_forecasts(schema: InputSchema) -> Mapping[str, Forecast]:
    """By name, every forecast without a model that these inputs allow: the last value, and for each season
    that the inputs reach back to, the value one season before. None where a target is no input channel."""
    if schema.kind != "forecasting" or not set(schema.targets) <= set(schema.channels):
        return {}
    found: dict[str, Forecast] = {PERSISTENCE: partial(persistence, schema=schema)}
    for season in schema.seasons:
        if all(lag in lags_of(schema) for lag in season_lags(schema, season)):
            found[season_name(schema, season)] = partial(seasonal, schema=schema, season=season)
    return found


def persistence(x: Tensor, schema: InputSchema) -> Tensor:
    """The latest value at every lead: "no change"."""
    last = _targets(x, schema)[..., -1]
    return last.repeat(*(1 for _ in last.shape[:-1]), len(leads_of(schema)))


def seasonal(x: Tensor, schema: InputSchema, season: int) -> Tensor:
    """The value one season before each lead, or as many seasons as it takes to be known.

    Raises:
        ValueError: the inputs do not hold one of those values.
    """
    lags = lags_of(schema)
    columns = [lags.index(lag) for lag in season_lags(schema, season)]
    return torch.cat([_targets(x, schema)[..., column] for column in columns], -1)


def season_name(schema: InputSchema, season: int) -> str:
    """How a season is called: `last day`, `last week`, or by its rows."""
    seconds = season / schema.sample_rate_hz if schema.sample_rate_hz else 0.0
    for name, length in (("day", 86_400.0), ("week", 604_800.0), ("year", 31_556_952.0)):
        if abs(seconds / length - 1) < 1e-3:
            return f"last {name}"
    return f"{season} rows before"


def leads_of(schema: InputSchema) -> tuple[int, ...]:
    """Rows ahead that are forecast."""
    return schema.leads or tuple(range(1, schema.horizon + 1))


def lags_of(schema: InputSchema) -> tuple[int, ...]:
    """Rows before the latest that inputs hold, in their order."""
    return schema.lags or tuple(range(schema.window - 1, -1, -1))


def season_lags(schema: InputSchema, season: int) -> list[int]:
    """For each lead, how many rows before the latest the value of the same moment a season before lies."""
    return [-(-lead // season) * season - lead for lead in leads_of(schema)]


def _targets(x: Tensor, schema: InputSchema) -> Tensor:
    return torch.stack([x[..., schema.channels.index(target), :] for target in schema.targets], -2)
