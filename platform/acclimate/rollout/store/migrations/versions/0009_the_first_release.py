"""The schema of the first release.

Its number is that of the last step on the way there, so that databases made by that step need nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = None
branch_labels = None
depends_on = None

LIVE = sa.text("state IN ('running', 'paused', 'held', 'promoting', 'rolling_back')")
RISING = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.Column("fleet", sa.String(128)),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", RISING, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("fleet", sa.String(128)),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("audit_by_fleet", "audit", ["fleet", "sequence"])
    op.create_table(
        "contributors",
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("campaign", sa.String(128), nullable=False),
        sa.Column("accepted_at", sa.Double()),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("fleet", "device", "campaign"),
    )
    op.create_table(
        "fleets",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("baselines", sa.Text(), nullable=False),
        sa.Column("poll_interval_s", sa.Double(), nullable=False),
        sa.Column("device_quota", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "proofs",
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("nonce", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("device", "nonce"),
    )
    op.create_index("proofs_by_time", "proofs", ["expires_at"])
    op.create_table(
        "report_counts",
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("reports", sa.BigInteger(), nullable=False),
        sa.Column("examples", sa.BigInteger(), nullable=False),
        sa.Column("loss_sum", sa.Double(), nullable=False),
        sa.Column("adapted_examples", sa.BigInteger(), nullable=False),
        sa.Column("adapted_loss_sum", sa.Double(), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.Column("adaptations", sa.BigInteger(), nullable=False),
        sa.Column("kept_starts", sa.BigInteger(), nullable=False),
        sa.Column("drifts", sa.BigInteger(), nullable=False),
        sa.Column("fallbacks", sa.BigInteger(), nullable=False),
        sa.Column("alarms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refusals", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fleet", "name", "version", "content_hash", "hour"),
    )
    op.create_table(
        "reports",
        sa.Column("sequence", RISING, autoincrement=True, nullable=False),
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("examples", sa.BigInteger(), nullable=False),
        sa.Column("loss_sum", sa.Double(), nullable=False),
        sa.Column("adapted_examples", sa.BigInteger(), nullable=False),
        sa.Column("adapted_loss_sum", sa.Double(), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.Column("adaptations", sa.BigInteger(), nullable=False),
        sa.Column("kept_starts", sa.BigInteger(), nullable=False),
        sa.Column("drifts", sa.BigInteger(), nullable=False),
        sa.Column("fallbacks", sa.BigInteger(), nullable=False),
        sa.Column("alarms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("fleet", "device", "id", name="a_report_counts_once"),
    )
    op.create_index("reports_by_device", "reports", ["fleet", "device", "sequence"])
    op.create_index("reports_by_fleet", "reports", ["fleet", "sequence"])
    op.create_index("reports_by_time", "reports", ["received_at"], postgresql_using="brin")
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("fleet", sa.String(128)),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.Column("outputs", sa.Integer(), nullable=False),
        sa.Column("aggregator", sa.String(32), nullable=False),
        sa.Column("clip", sa.Double(), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("noise", sa.Double(), nullable=False),
        sa.Column("delta", sa.Double(), nullable=False),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("closes_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("held_at", sa.Double(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("clipped", sa.Integer(), nullable=False),
        sa.Column("norm_median", sa.Double(), nullable=False),
        sa.Column("norm_p90", sa.Double(), nullable=False),
        sa.Column("secure", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("parameters", sa.Integer(), server_default="0", nullable=False),
        sa.Column("joined", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("right_after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tried_after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("result", sa.LargeBinary()),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("campaigns_by_fleet", "campaigns", ["fleet", "opened_at"])
    op.create_index("campaigns_by_state", "campaigns", ["state"])
    op.create_table(
        "devices",
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("enrolled_at", sa.Double(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("retired_at", sa.Double()),
        sa.Column("hardware_id", sa.String(256), nullable=False),
        sa.Column("sdk", sa.String(256), nullable=False),
        sa.Column("enrolment", sa.String(128), nullable=False),
        sa.Column("doubled_at", sa.Double()),
        sa.Column("doubled", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("fleet", "id"),
    )
    op.create_index("devices_by_enrolment", "devices", ["enrolment", "public_key"])
    op.create_index("devices_by_revision", "devices", ["fleet", "revision"])
    op.create_index("doubled_devices", "devices", ["fleet", "doubled_at"])
    op.create_table(
        "enrolment_tokens",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.Column("quota", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "given_releases",
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("given_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("fleet", "name", "version", "content_hash"),
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened", sa.Text(), nullable=False),
        sa.Column("touched", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("held_for", sa.Text(), nullable=False),
        sa.Column("approved", sa.Integer(), nullable=False),
        sa.Column("progress", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.Double()),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "one_live_rollout_per_fleet",
        "rollouts",
        ["fleet"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index("rollouts_by_fleet", "rollouts", ["fleet", "created_at"])
    op.create_table(
        "decisions",
        sa.Column("sequence", RISING, autoincrement=True, nullable=False),
        sa.Column("rollout", sa.String(128), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("decisions_by_rollout", "decisions", ["rollout", "sequence"])
    op.create_table(
        "machines",
        sa.Column("fleet", sa.String(128), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("nonce", sa.String(32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("hardware", sa.String(64), nullable=False),
        sa.Column("earlier", sa.Text(), nullable=False),
        sa.Column("rewound_at", sa.Double()),
        sa.ForeignKeyConstraint(["fleet", "device"], ["devices.fleet", "devices.id"]),
        sa.PrimaryKeyConstraint("fleet", "device"),
    )
    op.create_table(
        "observations",
        sa.Column("rollout", sa.String(128), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("arm", sa.String(8), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("order", sa.Integer()),
        sa.Column("adapted", sa.Boolean(), nullable=False),
        sa.Column("paid", sa.Boolean(), nullable=False),
        sa.Column("examples", sa.BigInteger(), nullable=False),
        sa.Column("loss_sum", sa.Double(), nullable=False),
        sa.Column("failure", sa.Boolean(), nullable=False),
        sa.Column("silence", sa.Boolean(), nullable=False),
        sa.Column("drift", sa.Boolean(), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("heard_at", sa.Double()),
        sa.Column("returned", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("rollout", "device"),
    )
    op.create_index("observations_by_time", "observations", ["rollout", "taken_at"])
