"""What can go wrong by a user's doing. Each message names the thing, its value and the remedy.

The command line prints these as one line and exits with code 2; the HTTP API turns them into problem
details. Anything else that escapes is a defect of ours and keeps its stack trace.
"""

from __future__ import annotations


class AcclimateError(Exception):
    """Base of every error a user can mend."""


class SettingsError(AcclimateError):
    """An environment variable or an option has a value that cannot be used."""


class RecipeError(AcclimateError):
    """A recipe has an unknown key, a wrong value, or parts that do not fit together."""


class DataError(AcclimateError):
    """Recordings are missing, malformed, or hold no usable task."""


class ModelError(AcclimateError):
    """A model cannot be built, or does not fit its data, its parameters or its device."""


class TrainingError(AcclimateError):
    """A run cannot start, resume or go on."""


class RegistryError(AcclimateError):
    """A run, a version or an alias is not in the registry, or the registry cannot be reached."""


class BundleError(AcclimateError):
    """An initialization cannot be turned into a bundle, or a bundle cannot be signed or trusted."""


class RolloutError(AcclimateError):
    """A fleet, device or rollout does not exist, or does not allow what was asked of it."""


class ScenarioError(AcclimateError):
    """A scenario has an unknown key, a wrong value, or does not fit its data, bundle or service."""


class StoreError(AcclimateError):
    """An object store does not answer, or does not let us in."""


class MissingExtraError(AcclimateError):
    """A command needs packages that this installation leaves out."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"this command needs {package!r}, which is not installed: pip install 'acclimate[{extra}]'"
        )


def in_a_line(error: Exception) -> str:
    """An error where others go on: what a user can mend says itself, anything else its kind too."""
    said = " ".join(str(error).split())
    return said if isinstance(error, AcclimateError) else f"{type(error).__name__}: {said}".removesuffix(": ")
