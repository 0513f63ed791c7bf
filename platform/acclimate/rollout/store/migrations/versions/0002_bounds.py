"""Bring what devices reported before the protocol had bounds inside them, so that old rows hurt nobody"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNT, NUMBER, LATEST = 10**12, 1e18, 2.0**33
COUNTS = {
    "reports": (
        "examples",
        "adapted_examples",
        "predictions",
        "adaptations",
        "kept_starts",
        "drifts",
        "fallbacks",
    ),
    "observations": ("examples", "predictions"),
}
NUMBERS = {
    "reports": ("loss_sum", "adapted_loss_sum", "latency_ms"),
    "observations": ("loss_sum", "latency_ms"),
    "report_counts": ("loss_sum", "adapted_loss_sum"),
}
MOMENTS = {"reports": ("started_at", "ended_at")}


def upgrade() -> None:
    for bounds, least, most in ((COUNTS, 0, COUNT), (NUMBERS, 0.0, NUMBER), (MOMENTS, 0.0, LATEST)):
        for table, columns in bounds.items():
            rows = sa.table(table, *(sa.column(name) for name in columns))
            for name in columns:
                column = rows.c[name]
                op.execute(rows.update().where(column > most).values({name: most}))
                op.execute(rows.update().where(column < least).values({name: least}))


def downgrade() -> None:
    """Nothing to take back: what is inside the bounds was valid before."""
