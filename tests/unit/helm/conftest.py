"""One loaded chart and one render per set of values for all tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.helm.rendering import CHART, Objects, objects_of

helm_python = pytest.importorskip("helm_python", reason="the chart is rendered by Helm's own engine")

Render = Callable[..., Objects]


@pytest.fixture(scope="session")
def chart():
    with helm_python.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart) -> Render:
    """`render(values, **options)`: the objects by `Kind/name`; the same values are rendered once."""
    seen: dict[str, Objects] = {}

    def rendered(values: dict[str, Any], **options: Any) -> Objects:
        given = {"name": "acclimate", "namespace": "fleet"} | options
        key = json.dumps([values, given], sort_keys=True)
        if key not in seen:
            seen[key] = objects_of(chart.render(values, **given))
        return seen[key]

    return rendered
