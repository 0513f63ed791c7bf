"""Who may do what, and who did: operators' tokens, enrolment tokens and the audit log, as records.

A token itself is never kept, only its SHA-256 in hex.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An operator's token. `fleet` limits it to one tenant; None opens them all."""

    id: str
    name: str
    role: str
    hash: str
    created_at: float
    created_by: str
    fleet: str | None = None
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """A token that lets `quota` devices into one fleet, each once.

    Attributes:
        used: devices that enrolled with it, counted from their rows.
    """

    id: str
    fleet: str
    hash: str
    created_at: float
    created_by: str
    quota: int = 1
    expires_at: float | None = None
    revoked_at: float | None = None
    used: int = 0


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """One sign-in to the console. `id` is the SHA-256 of what the browser holds, in hex.

    Attributes:
        subject: the API token's id, or `oidc:` and whom an OpenID provider vouches for.
        name, role, fleet: the operator's, at the time of signing in.
    """

    id: str
    subject: str
    name: str
    role: str
    fleet: str | None
    opened_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: who did what to what. `sequence` is its place in the log, 0 until stored."""

    at: float
    actor: str
    action: str
    subject: str
    detail: str = ""
    fleet: str | None = None
    sequence: int = 0
