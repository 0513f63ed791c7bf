"""What the service needs of a database, whichever it is. One contract suite runs over every implementation.

Rules every implementation keeps:

* Each call is one transaction: whole or not at all. Calls that change something a device could notice raise
  the fleet's revision in that transaction, and none that does not.
* Every change by a person is in the audit log, written in the same transaction.
* Times are seconds since the epoch and come from the caller.
* An unknown fleet, device, rollout or token is a `RolloutError` that names it.
* Calls block; a server runs them in threads. Implementations are safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from acclimate.errors import RolloutError
from acclimate.rollout.domain.access import ApiToken, AuditEntry, ConsoleSession, EnrolmentToken
from acclimate.rollout.domain.campaign import Campaign, Contributor
from acclimate.rollout.domain.evidence import Arm, Decision, Observation
from acclimate.rollout.domain.fleet import Attributes, Device, Fleet, Member
from acclimate.rollout.domain.report import ReportRecord
from acclimate.rollout.domain.retraining import Drifted
from acclimate.rollout.domain.rollout import Rollout, State
from acclimate_device.protocol import Release, Start


class NotFoundError(RolloutError):
    """The store holds no such fleet, device, rollout or token."""


class ConflictError(RolloutError):
    """The name is taken, or something changed since it was read: look again and repeat."""


class EnrolmentRefusedError(RolloutError):
    """The enrolment token is unknown, spent, expired or revoked, or the fleet is full."""


class LeaseLostError(Exception):
    """Another controller leads: stop, and drop what was decided. Never a user's mistake."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A device was told its assignment in a rollout, for the first time as far as this replica knows."""

    rollout: str
    device: str
    arm: Arm
    wave: int
    counter: int
    content_hash: str
    at: float

    def observation(self) -> Observation:
        """What is known of the device in the rollout so far."""
        return Observation(self.device, self.arm, self.wave, self.at, self.counter, self.content_hash)


@dataclass(frozen=True, slots=True)
class FleetChanges:
    """What is new in one fleet since a revision; retired devices are among them, marked so."""

    fleet: Fleet
    live: Rollout | None
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class Counts:
    """Reports and what they add up to, over stored rows and those already summed up by retention."""

    fleet: str
    release: Release
    hour: float
    reports: int
    examples: int
    loss_sum: float
    adapted_examples: int
    adapted_loss_sum: float
    predictions: int
    adaptations: int
    kept_starts: int
    drifts: int
    fallbacks: int
    alarms: int
    refusals: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership until `expires_at`. `token` rises with every new holder and fences off the ones before."""

    name: str
    holder: str
    token: int
    expires_at: float


Step = Callable[[Rollout, int], Rollout]
"""From a rollout as stored and the fleet's next revision to the rollout after one step of its life."""


class Store(Protocol):
    """The database of the rollout service."""

    def close(self) -> None:
        """Give connections back."""

    def ping(self, now: float) -> None:
        """Write something, and raise if that cannot be done: what only answers questions serves nobody."""

    # Fleets -------------------------------------------------------------------------------------------

    def add_fleet(self, fleet: Fleet, actor: str) -> Fleet:
        """Create a fleet. ConflictError if the name is taken."""

    def fleet(self, name: str) -> Fleet: ...

    def fleets(self) -> list[Fleet]:
        """All fleets by name."""

    def configure_fleet(
        self,
        name: str,
        now: float,
        actor: str,
        *,
        poll_interval_s: float | None = None,
        device_quota: int | None = None,
    ) -> Fleet: ...

    def set_baseline(self, name: str, target: str, release: Release, now: float, actor: str) -> Fleet:
        """Make `release` what matching devices run, without a rollout: for the first one of a fleet.
        ConflictError while a rollout is live."""

    def given_releases(self, name: str) -> list[Release]:
        """Every release that was ever the fleet's baseline or planned for it, the earliest first."""

    # Devices ------------------------------------------------------------------------------------------

    def enrol(self, token_hash: str, device: Device, now: float) -> Device:
        """Spend one use of an enrolment token and add the device; its fleet is the token's.

        The same token and public key again give the device enrolled before; a token made after
        a device was retired brings it back. A known id with another key is a ConflictError.
        """

    def add_devices(self, devices: Sequence[Device], now: float, actor: str) -> None:
        """Add devices of one fleet in bulk. ConflictError if one exists already."""

    def device(self, fleet: str, device_id: str) -> Device: ...

    def devices(
        self, fleet: str, *, after: str = "", limit: int = 100, contains: str = "", retired: bool = False
    ) -> list[Device]:
        """A page of devices by id, those after `after` whose id contains `contains`."""

    def count_devices(self, fleet: str) -> int:
        """Devices that are not retired."""

    def set_attributes(
        self,
        fleet: str,
        device_id: str,
        attributes: Attributes,
        now: float,
        actor: str,
        sdk: str | None = None,
    ) -> Device:
        """Replace a device's attributes; equal ones change nothing."""

    def retire_device(self, fleet: str, device_id: str, now: float, actor: str) -> Device:
        """Refuse a device from now on."""

    def change_key(self, fleet: str, device_id: str, public_key: str, now: float) -> Device:
        """Give a device another key, which ends its bearer tokens; the same again changes nothing.
        ConflictError if another device of the fleet has the key."""

    def start(self, fleet: str, device_id: str, start: Start, now: float, late: bool = False) -> Device:
        """Take in that a start of a device's agent asked, as `domain.machines` judges it; the device, which
        is held from then on if two machines must be behind it."""

    def resolve_device(self, fleet: str, device_id: str, now: float, actor: str) -> Device:
        """One machine has the identity again: the first that asks from now on."""

    def doubled_devices(self, fleet: str) -> list[Device]:
        """The devices that are held because two machines use their identity."""

    def members(self, fleet: str) -> list[Member]:
        """Every device of a fleet that is not retired, in its small form."""

    def changes(self, known: Mapping[str, int]) -> list[FleetChanges]:
        """What changed in any fleet since the revisions known; everything of fleets not in `known`. One
        small query when nothing did."""

    # Rollouts -----------------------------------------------------------------------------------------

    def add_rollout(self, rollout: Rollout, actor: str) -> Rollout:
        """Keep a draft."""

    def rollout(self, rollout_id: str) -> Rollout: ...

    def rollouts(self, fleet: str | None = None, states: Sequence[State] = ()) -> list[Rollout]:
        """Newest first."""

    def step_rollout(
        self,
        rollout_id: str,
        step: Step,
        decision: Decision,
        *,
        generation: int | None = None,
        token: int | None = None,
    ) -> Rollout:
        """Apply one step of a rollout's life, with its decision, its fleet's revision and the audit entry.

        A rollout that becomes `done` makes its release the baseline of its target; one that ends raises the
        fleet's floor.

        Args:
            generation: what the caller read; ConflictError if the rollout changed since.
            token: the controller's fencing token; LeaseLostError if another leads.

        Raises:
            ConflictError: another rollout of the fleet is live.
            RolloutError: `step` refuses.
        """

    def record_decision(self, decision: Decision, token: int) -> None:
        """Keep a decision that changes no state (a gate turned, a hold goes on)."""

    def decisions(self, rollout: str, limit: int = 100) -> list[Decision]:
        """Newest first."""

    def unpublished(self) -> list[Rollout]:
        """Rollouts that ended and whose result the registry does not know yet."""

    def mark_published(self, rollout: str, detail: str, now: float, token: int) -> None:
        """The registry knows."""

    # What devices show --------------------------------------------------------------------------------

    def record_taken(self, taken: Sequence[Taken]) -> None:
        """Keep which devices took part, and when; a device already known in the rollout keeps its time
        unless the counter is higher and it has not settled."""

    def observations(self, rollout: str, watched_since: float | None = None) -> list[Observation]:
        """Every device that took part: settled ones in order, then the watched ones by id. With
        `watched_since`, only those still watched that were told since then."""

    def progress(self, rollout: str) -> int:
        """The sequence of the last report folded into the rollout's observations."""

    def forget_observations(self, rollout: str, devices: Sequence[str], token: int) -> None:
        """Drop what these devices showed: it tells nothing. They may take part again."""

    def save_observations(
        self, rollout: str, observations: Sequence[Observation], progress: int, token: int
    ) -> None:
        """Store changed observations and how far the reports have been read, together. A device that was
        told anew in the meantime keeps the newer telling."""

    # Reports ------------------------------------------------------------------------------------------

    def add_reports(self, reports: Sequence[ReportRecord]) -> int:
        """Store those not known yet, in one commit; how many were new."""

    def reports_after(self, fleet: str, sequence: int, limit: int = 10_000) -> list[ReportRecord]:
        """A fleet's reports in the order of their commits; no later commit ever slips in before one seen.
        `payload` is left out."""

    def last_sequence(self, fleet: str) -> int:
        """Sequence of the fleet's latest report; 0 without one."""

    def device_reports(self, fleet: str, device: str, limit: int = 50) -> list[ReportRecord]:
        """A device's latest reports, newest first, with payloads."""

    def last_reports(self, fleet: str, devices: Sequence[str]) -> dict[str, ReportRecord]:
        """The latest report of each device that has one, without payload."""

    def counts(self, fleet: str, since: float = 0.0) -> list[Counts]:
        """Counts by release and hour, oldest first."""

    def drifted(self, fleet: str, content_hashes: Sequence[str] | None, since: float) -> Drifted:
        """How many devices reported under one of these releases (None: any) since a moment, and how many of
        them noticed drift."""

    def prune(self, before: float, token: int, limit: int = 5_000) -> int:
        """Sum up and delete up to `limit` of the reports received before `before` that live rollouts have
        read, but never a device's latest; delete observations of rollouts that ended before it. How many
        reports went; call again until it is 0."""

    # Access -------------------------------------------------------------------------------------------

    def add_api_token(self, token: ApiToken, actor: str) -> None: ...

    def add_first_admin(self, token: ApiToken, actor: str) -> bool:
        """Keep an administrator's token unless one of all fleets can enter; whether it was kept. Of replicas
        that start together, one succeeds."""

    def api_tokens(self) -> list[ApiToken]:
        """All of them, revoked ones too."""

    def revoke_api_token(self, token_id: str, now: float, actor: str, keep_one: bool = False) -> None:
        """End a token.

        Args:
            keep_one: raise ConflictError instead where no administrator of all fleets could enter any more.
        """

    def open_session(self, session: ConsoleSession) -> None:
        """Keep a sign-in to the console, and drop those that have expired."""

    def session(self, session_id: str, now: float) -> ConsoleSession | None:
        """A session that has neither ended nor expired."""

    def sessions(self, now: float) -> list[ConsoleSession]:
        """Those that go on, the newest first."""

    def end_session(self, session_id: str, now: float, actor: str = "") -> None:
        """End a session; by its own operator unless `actor` says who else. One that has ended stays so."""

    def spend_proof(self, device: str, nonce: str, expires_at: float) -> bool:
        """Remember that a device has used a nonce; False if any replica knew it already."""

    def forget_proofs(self, now: float) -> None:
        """Drop those that are stale, and refused for that, by now."""

    def add_enrolment_token(self, token: EnrolmentToken, actor: str) -> None: ...

    def enrolment_tokens(self, fleet: str) -> list[EnrolmentToken]: ...

    def revoke_enrolment_token(self, token_id: str, now: float, actor: str) -> None: ...

    def add_audit(self, entry: AuditEntry) -> None: ...

    def audit(
        self,
        *,
        fleet: str | None = None,
        actions: Sequence[str] = (),
        before: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Newest first, those with a sequence below `before` and one of `actions` (none given: any)."""

    def secret(self, name: str, fresh: bytes) -> bytes:
        """A secret shared by all replicas: the one kept under `name`, or `fresh` if there was none."""

    # Campaigns ----------------------------------------------------------------------------------------

    def add_campaign(self, campaign: Campaign, actor: str) -> None:
        """Open a campaign. A ConflictError where its fleet has a live one."""

    def campaign(self, campaign_id: str) -> Campaign: ...

    def campaigns(self, fleet: str | None = None, live: bool = False, limit: int = 100) -> list[Campaign]:
        """Newest first."""

    def step_campaign(
        self,
        campaign_id: str,
        step: Callable[[Campaign], Campaign],
        now: float,
        actor: str,
        action: str,
        detail: str,
        result: bytes | None = None,
    ) -> Campaign:
        """Apply `step` to the campaign as stored, with what came of it if it is done."""

    def hold_campaign(self, campaign: Campaign) -> bool:
        """Keep its figures, and that its holder lives; False if it is no longer live, or another's."""

    def campaign_result(self, campaign_id: str) -> bytes | None:
        """What came of all contributions; None unless it is done."""

    def accept_contribution(self, fleet: str, device: str, campaign: str, now: float) -> None:
        """Note that a device took part; once, however often it is said."""

    def refuse_contribution(self, fleet: str, device: str, campaign: str, reason: str) -> int:
        """Count a refusal; the device's in all campaigns so far."""

    def contributors(self, fleet: str, campaign: str | None = None) -> Sequence[Contributor]:
        """Who took part or was refused, by device."""

    # Leadership ---------------------------------------------------------------------------------------

    def acquire_lease(self, name: str, holder: str, now: float, ttl_s: float) -> Lease | None:
        """Lead, go on leading, or None while another holder's lease lasts."""

    def release_lease(self, lease: Lease) -> None:
        """Let the next one lead at once."""
