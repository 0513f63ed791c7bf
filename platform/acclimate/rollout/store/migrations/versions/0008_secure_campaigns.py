"""Campaigns whose devices mask what they give; how many joined, and how well devices adapted"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTS = ("joined", "right_after", "tried_after")


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("secure", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name in COUNTS:
        op.add_column("campaigns", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for name in COUNTS:
        op.drop_column("campaigns", name)
    op.drop_column("campaigns", "secure")
