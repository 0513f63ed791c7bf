"""The tables. Migrations in `migrations/` lead to exactly this; a test compares them.

Documents that are only ever read whole (plans, evidence) are JSON texts; whatever is searched, joined or
summed is a column.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

Sequence = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only under INTEGER
Name = String(128)
Hash = String(64)
Seconds = Double

fleets = Table(
    "fleets",
    metadata,
    Column("name", Name, primary_key=True),
    Column("created_at", Seconds, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("baselines", Text, nullable=False),
    Column("poll_interval_s", Double, nullable=False),
    Column("device_quota", Integer, nullable=False),
    Column("tally", Text, nullable=False, server_default=""),
)

given_releases = Table(
    "given_releases",
    metadata,
    Column("fleet", Name, ForeignKey("fleets.name"), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("content_hash", Hash, primary_key=True),
    Column("given_at", Seconds, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("fleet", Name, ForeignKey("fleets.name"), primary_key=True),
    Column("id", Name, primary_key=True),
    Column("public_key", Hash, nullable=False),
    Column("enrolled_at", Seconds, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("retired_at", Seconds),
    Column("hardware_id", String(256), nullable=False),
    Column("sdk", String(256), nullable=False),
    Column("enrolment", Name, nullable=False),
    Column("doubled_at", Seconds),
    Column("doubled", Text, nullable=False, server_default=""),
    Index("doubled_devices", "fleet", "doubled_at"),
    Index("devices_by_revision", "fleet", "revision"),
    Index("devices_by_enrolment", "enrolment", "public_key"),
    Index("devices_by_key", "fleet", "public_key"),
)

machines = Table(
    "machines",
    metadata,
    Column("fleet", Name, primary_key=True),
    Column("device", Name, primary_key=True),
    Column("nonce", String(32), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("hardware", Hash, nullable=False),
    Column("earlier", Text, nullable=False),
    Column("rewound_at", Seconds),
    ForeignKeyConstraint(["fleet", "device"], ["devices.fleet", "devices.id"]),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Name, primary_key=True),
    Column("fleet", Name, ForeignKey("fleets.name"), nullable=False),
    Column("plan", Text, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened", Text, nullable=False),
    Column("touched", BigInteger, nullable=False),
    Column("changed_at", Seconds, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("held_for", Text, nullable=False),
    Column("approved", Integer, nullable=False),
    Column("progress", BigInteger, nullable=False, default=0),
    Column("published_at", Seconds),
    Index("rollouts_by_fleet", "fleet", "created_at"),
)
LIVE_STATES = "state IN ('running', 'paused', 'held', 'promoting', 'rolling_back')"
Index(
    "one_live_rollout_per_fleet",
    rollouts.c.fleet,
    unique=True,
    sqlite_where=text(LIVE_STATES),
    postgresql_where=text(LIVE_STATES),
)

decisions = Table(
    "decisions",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("rollout", Name, ForeignKey("rollouts.id"), nullable=False),
    Column("at", Seconds, nullable=False),
    Column("action", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Index("decisions_by_rollout", "rollout", "sequence"),
)

observations = Table(
    "observations",
    metadata,
    Column("rollout", Name, ForeignKey("rollouts.id"), primary_key=True),
    Column("device", Name, primary_key=True),
    Column("arm", String(8), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("taken_at", Seconds, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("content_hash", Hash, nullable=False),
    Column("order", Integer),
    Column("adapted", Boolean, nullable=False, default=False),
    Column("paid", Boolean, nullable=False, default=False),
    Column("examples", BigInteger, nullable=False, default=0),
    Column("loss_sum", Double, nullable=False, default=0.0),
    Column("failure", Boolean, nullable=False, default=False),
    Column("silence", Boolean, nullable=False, default=False),
    Column("drift", Boolean, nullable=False, default=False),
    Column("predictions", BigInteger, nullable=False, default=0),
    Column("latency_ms", Double),
    Column("heard_at", Seconds),
    Column("returned", Boolean, nullable=False, default=False),
    Index("observations_by_time", "rollout", "taken_at"),
)

reports = Table(
    "reports",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("fleet", Name, nullable=False),
    Column("device", Name, nullable=False),
    Column("id", String(32), nullable=False),
    Column("received_at", Seconds, nullable=False),
    Column("started_at", Seconds, nullable=False),
    Column("ended_at", Seconds, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_hash", Hash, nullable=False),
    Column("examples", BigInteger, nullable=False),
    Column("loss_sum", Double, nullable=False),
    Column("adapted_examples", BigInteger, nullable=False),
    Column("adapted_loss_sum", Double, nullable=False),
    Column("predictions", BigInteger, nullable=False),
    Column("adaptations", BigInteger, nullable=False),
    Column("kept_starts", BigInteger, nullable=False),
    Column("drifts", BigInteger, nullable=False),
    Column("fallbacks", BigInteger, nullable=False),
    Column("alarms", BigInteger, nullable=False, server_default="0"),
    Column("refused", Boolean, nullable=False),
    Column("latency_ms", Double),
    Column("payload", Text, nullable=False),
    UniqueConstraint("fleet", "device", "id", name="a_report_counts_once"),
    Index("reports_by_fleet", "fleet", "sequence"),
    Index("reports_by_device", "fleet", "device", "sequence"),
    Index("reports_by_time", "received_at", postgresql_using="brin"),  # rows lie in order of time
)

report_counts = Table(
    "report_counts",
    metadata,
    Column("fleet", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("content_hash", Hash, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("reports", BigInteger, nullable=False),
    Column("examples", BigInteger, nullable=False),
    Column("loss_sum", Double, nullable=False),
    Column("adapted_examples", BigInteger, nullable=False),
    Column("adapted_loss_sum", Double, nullable=False),
    Column("predictions", BigInteger, nullable=False),
    Column("adaptations", BigInteger, nullable=False),
    Column("kept_starts", BigInteger, nullable=False),
    Column("drifts", BigInteger, nullable=False),
    Column("fallbacks", BigInteger, nullable=False),
    Column("alarms", BigInteger, nullable=False, server_default="0"),
    Column("refusals", BigInteger, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Name, primary_key=True),
    Column("name", String(256), nullable=False),
    Column("role", String(16), nullable=False),
    Column("hash", Hash, nullable=False, unique=True),
    Column("created_at", Seconds, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("fleet", Name),
    Column("expires_at", Seconds),
    Column("revoked_at", Seconds),
)

enrolment_tokens = Table(
    "enrolment_tokens",
    metadata,
    Column("id", Name, primary_key=True),
    Column("fleet", Name, ForeignKey("fleets.name"), nullable=False),
    Column("hash", Hash, nullable=False, unique=True),
    Column("created_at", Seconds, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("quota", Integer, nullable=False),
    Column("expires_at", Seconds),
    Column("revoked_at", Seconds),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Hash, primary_key=True),
    Column("subject", String(256), nullable=False),
    Column("name", String(256), nullable=False),
    Column("role", String(16), nullable=False),
    Column("fleet", Name),
    Column("opened_at", Seconds, nullable=False),
    Column("expires_at", Seconds, nullable=False),
)

proofs = Table(
    "proofs",
    metadata,
    Column("device", Name, primary_key=True),
    Column("nonce", String(32), primary_key=True),
    Column("expires_at", Seconds, nullable=False),
    Index("proofs_by_time", "expires_at"),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Name, primary_key=True),
    Column("fleet", Name, ForeignKey("fleets.name"), nullable=False),
    Column("name", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_hash", Hash, nullable=False),
    Column("features", Integer, nullable=False),
    Column("outputs", Integer, nullable=False),
    Column("aggregator", String(32), nullable=False),
    Column("clip", Double, nullable=False),
    Column("bits", Integer, nullable=False),
    Column("noise", Double, nullable=False),
    Column("delta", Double, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("labels", Integer, nullable=False),
    Column("opened_at", Seconds, nullable=False),
    Column("closes_at", Seconds, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("held_at", Seconds, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("clipped", Integer, nullable=False),
    Column("norm_median", Double, nullable=False),
    Column("norm_p90", Double, nullable=False),
    Column("secure", Boolean, nullable=False, server_default=false()),
    Column("parameters", Integer, nullable=False, server_default="0"),
    Column("joined", BigInteger, nullable=False, server_default="0"),
    Column("right_after", BigInteger, nullable=False, server_default="0"),
    Column("tried_after", BigInteger, nullable=False, server_default="0"),
    Column("result", LargeBinary),
    Index("campaigns_by_fleet", "fleet", "opened_at"),
    Index("campaigns_by_state", "state"),
)

contributors = Table(
    "contributors",
    metadata,
    Column("fleet", Name, primary_key=True),
    Column("device", Name, primary_key=True),
    Column("campaign", Name, primary_key=True),
    Column("accepted_at", Seconds),
    Column("refusals", Integer, nullable=False),
    Column("reason", String(256), nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("at", Seconds, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("detail", Text, nullable=False),
    Column("fleet", Name),
    Index("audit_by_fleet", "fleet", "sequence"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Name, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", String(256), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Seconds, nullable=False),
)
