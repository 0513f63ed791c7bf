"""Proofs that devices have used, so that each is worth one token of all replicas together"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proofs",
        sa.Column("device", sa.String(length=128), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("device", "nonce"),
    )
    op.create_index("proofs_by_time", "proofs", ["expires_at"])


def downgrade() -> None:
    op.drop_table("proofs")
