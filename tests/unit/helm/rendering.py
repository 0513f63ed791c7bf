"""How the tests look at a rendered chart: objects by `Kind/name`, places by path, values by dotted key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "acclimate"
ABSENT = object()

Object = dict[str, Any]
Objects = dict[str, Object]

# The smallest values that install, the two profiles, and everything the chart can make at once.
MINIMAL: dict[str, Any] = {"database": {"host": "db.example.com"}}
SMALL: dict[str, Any] = yaml.safe_load((CHART / "values-small.yaml").read_text())
PRODUCTION: dict[str, Any] = yaml.safe_load((CHART / "values-production.yaml").read_text())


def objects_of(manifests: Mapping[str, str]) -> Objects:
    """Every object of the rendered templates, hooks too; two of one kind and name are a mistake."""
    objects: Objects = {}
    for path, text in manifests.items():
        if path.endswith((".txt", ".tpl")):
            continue
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader):  # libyaml: ten times as fast
            if document:
                key = f"{document['kind']}/{document['metadata']['name']}"
                assert key not in objects, f"{key} is rendered twice"
                objects[key] = document
    return objects


def at(objects: Objects, place: str, path: str = "") -> Any:
    """What stands at `path` of the object `place`, or ABSENT.

    Steps are divided by `>`; in a list a step is an index or the `name` of an element.
    """
    found: Any = objects.get(place, ABSENT)
    for step in path.split(">") if path else ():
        if isinstance(found, dict):
            found = found.get(step, ABSENT)
        elif isinstance(found, list):
            if step.lstrip("-").isdigit():
                found = found[int(step)] if -len(found) <= int(step) < len(found) else ABSENT
            else:
                found = next((e for e in found if isinstance(e, dict) and e.get("name") == step), ABSENT)
        else:
            return ABSENT
    return found


def nested(dotted: str, value: Any) -> dict[str, Any]:
    """`nested("a.b", 1)` is `{"a": {"b": 1}}`."""
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return value


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over one another, later ones winning, as Helm does with several `-f`."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
                result[key] = merged(result[key], value)
            else:
                result[key] = value
    return result


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key that holds no further keys, with its value; empty maps and lists are leaves."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value and f"{prefix}{key}" not in FREE_MAPS:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# Maps whose keys are the user's own.
FREE_MAPS = {"monitoring.dashboard.labels"}


def pod_specs(objects: Objects) -> Iterator[tuple[str, Object]]:
    """The specification of every pod that the objects bring up, with a name for messages."""
    for place, item in objects.items():
        spec = item.get("spec", {})
        match item["kind"]:
            case "Pod":
                yield place, spec
            case "Deployment" | "StatefulSet" | "Job":
                yield place, spec["template"]["spec"]
            case "CronJob":
                yield place, spec["jobTemplate"]["spec"]["template"]["spec"]
            case "RayCluster":
                yield f"{place} head", spec["headGroupSpec"]["template"]["spec"]
                for group in spec["workerGroupSpecs"]:
                    yield f"{place} {group['groupName']}", group["template"]["spec"]


def containers(objects: Objects) -> Iterator[tuple[str, Object]]:
    """Every container of every pod, init containers too."""
    for place, spec in pod_specs(objects):
        for container in spec.get("initContainers", []) + spec["containers"]:
            yield f"{place} {container['name']}", container


def environment(container: Object) -> dict[str, Any]:
    """Name to value, or to `valueFrom` where it is a reference."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", [])}


EVERYTHING = merged(
    PRODUCTION,
    {
        "postgresql": {"enabled": True},
        "repository": {"artifactsUrl": ""},
        "mlflow": {"artifacts": {"url": ""}, "auth": {"clients": [{"namespaceSelector": {}}]}},
        "pipelines": {"enabled": True},
        "ray": {"faultTolerance": {"redisAddress": "redis:6379", "existingSecret": "redis"}},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "further"}}],
        "rollout": {"tls": {"secretName": "pod-tls"}},
        "expose": {"type": "gateway", "gateway": {"className": "istio", "parentRefs": [{"name": "shared"}]}},
        "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "extraEgress": [{}]},
    },
)
PROFILES = {"minimal": MINIMAL, "small": SMALL, "production": PRODUCTION, "everything": EVERYTHING}
