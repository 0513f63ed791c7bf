"""Which machine asks under an identity, so that two are noticed; the anomalies that devices report"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ALARMS = ("reports", "report_counts")


def upgrade() -> None:
    op.create_table(
        "machines",
        sa.Column("fleet", sa.String(length=128), nullable=False),
        sa.Column("device", sa.String(length=128), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("hardware", sa.String(length=64), nullable=False),
        sa.Column("earlier", sa.Text(), nullable=False),
        sa.Column("rewound_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["fleet", "device"], ["devices.fleet", "devices.id"]),
        sa.PrimaryKeyConstraint("fleet", "device"),
    )
    op.add_column("devices", sa.Column("doubled_at", sa.Double(), nullable=True))
    op.add_column("devices", sa.Column("doubled", sa.Text(), nullable=False, server_default=""))
    op.create_index("doubled_devices", "devices", ["fleet", "doubled_at"])
    for table in ALARMS:
        op.add_column(table, sa.Column("alarms", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for table in ALARMS:
        op.drop_column(table, "alarms")
    op.drop_index("doubled_devices", "devices")
    op.drop_column("devices", "doubled")
    op.drop_column("devices", "doubled_at")
    op.drop_table("machines")
