"""Tokens, the audit log and shared secrets in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from acclimate.rollout.domain.access import ApiToken, AuditEntry, ConsoleSession, EnrolmentToken
from acclimate.rollout.store import rows, tables
from acclimate.rollout.store.contract import ConflictError, NotFoundError
from acclimate.rollout.store.database import Database

TOKENS, ENROLMENTS, AUDIT, SECRETS = (
    tables.api_tokens,
    tables.enrolment_tokens,
    tables.audit,
    tables.secrets,
)
SESSIONS, PROOFS = tables.sessions, tables.proofs
FIRST_ADMIN_LOCK = 0x41_43_43_41  # any number of our own: "ACCA"


class AccessTables:
    """The part of `Store` about who may do what, and who did."""

    _database: Database

    def add_api_token(self, token: ApiToken, actor: str) -> None:
        with self._database.write() as connection:
            try:
                connection.execute(TOKENS.insert().values(rows.plain(token)))
            except IntegrityError:
                raise ConflictError(f"API token {token.id!r} exists already: choose another id") from None
            detail = f"{token.name} role={token.role}"
            entry = AuditEntry(
                token.created_at, actor, "token.create", f"token {token.id}", detail, token.fleet
            )
            write_audit(connection, entry)

    def add_first_admin(self, token: ApiToken, actor: str) -> bool:
        """Keep an administrator's token unless one of all fleets can enter; whether it was kept. Of replicas
        that start together, one succeeds."""
        with self._database.write() as connection:
            self._database.one_after_another(connection, FIRST_ADMIN_LOCK)
            if _administrators(connection, token.created_at):
                return False
            connection.execute(TOKENS.insert().values(rows.plain(token)))
            subject = f"token {token.id}"
            write_audit(connection, AuditEntry(token.created_at, actor, "token.create", subject, token.name))
        return True

    def api_tokens(self) -> list[ApiToken]:
        """All of them, revoked ones too."""
        with self._database.read() as connection:
            found = connection.execute(select(TOKENS).order_by(TOKENS.c.created_at, TOKENS.c.id))
            return [ApiToken(**row) for row in found.mappings()]

    def revoke_api_token(self, token_id: str, now: float, actor: str, keep_one: bool = False) -> None:
        """End a token.

        Args:
            keep_one: raise ConflictError instead where no administrator of all fleets could enter any more.
        """
        with self._database.write() as connection:
            self._database.one_after_another(connection, FIRST_ADMIN_LOCK)
            query = select(TOKENS).where(TOKENS.c.id == token_id)
            row = connection.execute(query).mappings().first()
            if row is None:
                raise NotFoundError(f"there is no API token {token_id!r}")
            if row["revoked_at"] is not None:
                return
            if keep_one and _administrators(connection, now) == {token_id}:
                raise ConflictError(
                    f"{token_id!r} is the last token with which an administrator of all fleets can enter: "
                    "make another first"
                )
            connection.execute(update(TOKENS).where(TOKENS.c.id == token_id).values(revoked_at=now))
            entry = AuditEntry(now, actor, "token.revoke", f"token {token_id}", row["name"], row["fleet"])
            write_audit(connection, entry)

    def open_session(self, session: ConsoleSession) -> None:
        """Keep a sign-in to the console, and drop those that have expired."""
        with self._database.write() as connection:
            connection.execute(SESSIONS.delete().where(SESSIONS.c.expires_at <= session.opened_at))
            connection.execute(SESSIONS.insert().values(rows.plain(session)))
            write_audit(connection, _of_session(session, session.opened_at, session.name, "session.open"))

    def session(self, session_id: str, now: float) -> ConsoleSession | None:
        """A session that has neither ended nor expired."""
        query = select(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.expires_at > now)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else ConsoleSession(**row)

    def sessions(self, now: float) -> list[ConsoleSession]:
        """Those that go on, the newest first."""
        query = select(SESSIONS).where(SESSIONS.c.expires_at > now).order_by(SESSIONS.c.opened_at.desc())
        with self._database.read() as connection:
            return [ConsoleSession(**row) for row in connection.execute(query).mappings()]

    def end_session(self, session_id: str, now: float, actor: str = "") -> None:
        """End a session; by its own operator unless `actor` says who else. One that has ended stays so."""
        with self._database.write() as connection:
            gone = SESSIONS.delete().where(SESSIONS.c.id == session_id).returning(SESSIONS)
            for row in connection.execute(gone).mappings().all():
                ended = ConsoleSession(**row)
                write_audit(connection, _of_session(ended, now, actor or ended.name, "session.close"))

    def spend_proof(self, device: str, nonce: str, expires_at: float) -> bool:
        """Remember that a device has used a nonce; False if any replica knew it already."""
        proof = (device, nonce, expires_at)
        with self._database.write() as connection:
            return self._database.insert_new(connection, PROOFS, PROOFS.columns.keys(), [proof]) == 1

    def forget_proofs(self, now: float) -> None:
        """Drop those that are stale, and refused for that, by now."""
        with self._database.write() as connection:
            connection.execute(PROOFS.delete().where(PROOFS.c.expires_at < now))

    def add_enrolment_token(self, token: EnrolmentToken, actor: str) -> None:
        with self._database.write() as connection:
            fleet = select(tables.fleets.c.name).where(tables.fleets.c.name == token.fleet)
            if connection.scalar(fleet) is None:
                raise NotFoundError(f"there is no fleet {token.fleet!r}: create it first")
            try:
                connection.execute(ENROLMENTS.insert().values(rows.plain(token, "used")))
            except IntegrityError:
                raise ConflictError(
                    f"enrolment token {token.id!r} exists already: choose another id"
                ) from None
            entry = AuditEntry(
                token.created_at,
                actor,
                "enrolment.create",
                f"enrolment {token.id}",
                f"quota={token.quota}",
                token.fleet,
            )
            write_audit(connection, entry)

    def enrolment_tokens(self, fleet: str) -> list[EnrolmentToken]:
        devices = tables.devices
        used = (
            select(func.count())
            .select_from(devices)
            .where(devices.c.enrolment == ENROLMENTS.c.id)
            .scalar_subquery()
        )
        query = select(ENROLMENTS, used.label("used")).where(ENROLMENTS.c.fleet == fleet)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(ENROLMENTS.c.created_at, ENROLMENTS.c.id))
            return [EnrolmentToken(**row) for row in found.mappings()]

    def revoke_enrolment_token(self, token_id: str, now: float, actor: str) -> None:
        with self._database.write() as connection:
            query = select(ENROLMENTS).where(ENROLMENTS.c.id == token_id)
            row = connection.execute(query).mappings().first()
            if row is None:
                raise NotFoundError(f"there is no enrolment token {token_id!r}")
            if row["revoked_at"] is not None:
                return
            connection.execute(update(ENROLMENTS).where(ENROLMENTS.c.id == token_id).values(revoked_at=now))
            entry = AuditEntry(now, actor, "enrolment.revoke", f"enrolment {token_id}", "", row["fleet"])
            write_audit(connection, entry)

    def add_audit(self, entry: AuditEntry) -> None:
        with self._database.write() as connection:
            write_audit(connection, entry)

    def audit(
        self,
        *,
        fleet: str | None = None,
        actions: Sequence[str] = (),
        before: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Newest first, those with a sequence below `before` and one of `actions` (none given: any)."""
        query = select(AUDIT).order_by(AUDIT.c.sequence.desc()).limit(limit)
        if fleet is not None:
            query = query.where(AUDIT.c.fleet == fleet)
        if actions:
            query = query.where(AUDIT.c.action.in_(actions))
        if before is not None:
            query = query.where(AUDIT.c.sequence < before)
        with self._database.read() as connection:
            return [AuditEntry(**row) for row in connection.execute(query).mappings()]

    def secret(self, name: str, fresh: bytes) -> bytes:
        """A secret shared by all replicas: the one kept under `name`, or `fresh` if there was none."""
        with self._database.write() as connection:
            first = self._database.insert(SECRETS).values(name=name, value=fresh).on_conflict_do_nothing()
            connection.execute(first)
            value: bytes = connection.scalars(select(SECRETS.c.value).where(SECRETS.c.name == name)).one()
            return value


def _administrators(connection: Connection, now: float) -> set[str]:
    """Ids of the tokens with which an administrator of all fleets can enter now."""
    column = TOKENS.c
    usable = or_(column.expires_at.is_(None), column.expires_at > now)
    found = select(column.id).where(
        column.role == "admin", column.revoked_at.is_(None), column.fleet.is_(None), usable
    )
    return set(connection.scalars(found))


def _of_session(session: ConsoleSession, at: float, actor: str, action: str) -> AuditEntry:
    return AuditEntry(at, actor, action, f"session {session.id[:12]}", session.subject, session.fleet)


def write_audit(connection: Connection, entry: AuditEntry) -> None:
    """Add an entry, in the transaction of what it tells about."""
    connection.execute(AUDIT.insert().values(rows.plain(entry, "sequence")))
