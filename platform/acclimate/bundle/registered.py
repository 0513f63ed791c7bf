"""A registered version, with what the registry knows of it, as a bundle."""

from __future__ import annotations

from acclimate.bundle.expectation import expected_curve
from acclimate.bundle.export import Bundle, build_bundle
from acclimate.bundle.limits import DeviceLimits
from acclimate.documents import parse_yaml
from acclimate.references import split_reference
from acclimate.registry import CANDIDATE, Registry
from acclimate_device.protocol import Release


def bundle_of(registry: Registry, reference: str) -> Bundle:
    """The bundle of `NAME@REF`; a name alone means its candidate.

    Raises:
        AcclimateError: `reference` is no such notation.
        RegistryError: there is no such version.
        BundleError: it cannot be published; the message names the operator or the limit.
    """
    name, ref = split_reference(reference)
    initialization, version = registry.fetch(name, ref or CANDIDATE)
    exact = str(version.version)  # an alias may move between two requests
    recipe = parse_yaml(registry.document(name, exact, "recipe.yaml") or "") or {}
    return build_bundle(
        initialization,
        Release(version.name, version.version, version.content_hash),
        run_id=version.run_id,
        verdict=str(version.tags.get("verdict", "")),
        expected=expected_curve(registry.evaluation(name, exact), initialization.adaptation.shots),
        limits=DeviceLimits.declared(recipe.get("device") or {}),
    )


def limits_of(registry: Registry, reference: str) -> DeviceLimits:
    """What the recipe of `NAME@REF` declares of its smallest device.

    Raises:
        AcclimateError: `reference` is no such notation.
        RegistryError: there is no such version.
        BundleError: a key or a value is no limit.
    """
    name, ref = split_reference(reference)
    recipe = parse_yaml(registry.document(name, ref or CANDIDATE, "recipe.yaml") or "") or {}
    return DeviceLimits.declared(recipe.get("device") or {})
