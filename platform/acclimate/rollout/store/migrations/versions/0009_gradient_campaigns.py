"""Campaigns in which devices give how far they adapt"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("parameters", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("campaigns", "parameters")
