"""Campaigns, in which a fleet learns together, and who took part"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("fleet", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.Column("outputs", sa.Integer(), nullable=False),
        sa.Column("aggregator", sa.String(length=32), nullable=False),
        sa.Column("clip", sa.Double(), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("noise", sa.Double(), nullable=False),
        sa.Column("delta", sa.Double(), nullable=False),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("closes_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=256), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("held_at", sa.Double(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("clipped", sa.Integer(), nullable=False),
        sa.Column("norm_median", sa.Double(), nullable=False),
        sa.Column("norm_p90", sa.Double(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("campaigns_by_fleet", "campaigns", ["fleet", "opened_at"])
    op.create_index("campaigns_by_state", "campaigns", ["state"])
    op.create_table(
        "contributors",
        sa.Column("fleet", sa.String(length=128), nullable=False),
        sa.Column("device", sa.String(length=128), nullable=False),
        sa.Column("campaign", sa.String(length=128), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("fleet", "device", "campaign"),
    )


def downgrade() -> None:
    op.drop_table("contributors")
    op.drop_index("campaigns_by_state", "campaigns")
    op.drop_index("campaigns_by_fleet", "campaigns")
    op.drop_table("campaigns")
