"""A registered version, with what the registry knows of it, as a bundle."""

from __future__ import annotations

from acclimate.bundle.expectation import expected_curve
from acclimate.bundle.export import Bundle, build_bundle
from acclimate.bundle.limits import DeviceLimits
from acclimate.documents import mapping_of
from acclimate.errors import RegistryError
from acclimate.references import split_reference
from acclimate.registry import CANDIDATE, Registry
from acclimate_device.protocol import Release

RECIPE = "recipe.yaml"


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
    return build_bundle(
        initialization,
        Release(version.name, version.version, version.content_hash),
        run_id=version.run_id,
        verdict=str(version.tags.get("verdict", "")),
        expected=expected_curve(registry.evaluation(name, exact), initialization.adaptation.shots),
        limits=_declared(registry, name, exact),
    )


def limits_of(registry: Registry, reference: str) -> DeviceLimits:
    """What the recipe of `NAME@REF` declares of its smallest device.

    Raises:
        AcclimateError: `reference` is no such notation.
        RegistryError: there is no such version.
        BundleError: a key or a value is no limit.
    """
    name, ref = split_reference(reference)
    return _declared(registry, name, ref or CANDIDATE)


def _declared(registry: Registry, name: str, ref: str) -> DeviceLimits:
    text = registry.document(name, ref, RECIPE)
    if text is None:
        return DeviceLimits.declared({})
    recipe = mapping_of(text, f"{RECIPE} of {name} version {ref} in {registry.where}", RegistryError)
    section = recipe.get("device")
    return DeviceLimits.declared(section if isinstance(section, dict) else {})
