"""A device that enrols is looked for by its key in the whole fleet."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("devices_by_key", "devices", ["fleet", "public_key"])
