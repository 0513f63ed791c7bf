"""What can go wrong on a device. Each error names the thing, its value and the remedy.

Whatever raises one of these has changed nothing.
"""

from __future__ import annotations


class DeviceError(Exception):
    """Base of every error this package raises on purpose."""


class ProtocolError(DeviceError):
    """A message is not what the protocol says: a missing field, a wrong type, an unknown schema version."""


class UntrustedError(DeviceError):
    """A signature, hash, identity or counter does not hold: what came is not used."""


class BundleError(DeviceError):
    """A bundle is incomplete, damaged or too large, or its graphs fail its sanity vector."""


class InputError(DeviceError, ValueError):
    """An example has the wrong shape or type, holds NaN or infinity, or does not vary at all."""


class BeyondError(InputError):
    """An input lies far outside of what training saw, and the bundle refuses such inputs."""


class AlignmentError(DeviceError):
    """Shifted inputs cannot be mapped back, a channel stands still. For telemetry: no call raises it."""


class LabelError(DeviceError, ValueError):
    """A label or target is not one the bundle knows."""


class StorageError(DeviceError):
    """Flash refused a write or holds nothing readable."""


class OwnerError(DeviceError):
    """A state folder is in use by another process, or by the parent of a fork, or its device was closed."""


class ConfigError(DeviceError):
    """The agent's configuration has an unknown key, a wrong value, or lacks one that is needed."""


class TransportError(DeviceError):
    """The service cannot be reached, or answered with something other than success.

    Attributes:
        status: the HTTP status, or 0 if no answer came.
        problem: the `type` of the RFC 9457 problem, or an empty string.
        retry_after_s: how long the service asks to wait, or 0.
    """

    def __init__(self, message: str, status: int = 0, problem: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s
