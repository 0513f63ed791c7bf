"""What limits enrolments is kept with the fleet, for all replicas."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("fleets", sa.Column("tally", sa.Text(), server_default="", nullable=False))
