"""Remember every release that a fleet was ever given: what its counts tell apart and its devices may fetch"""

import json
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Given = tuple[str, dict[str, Any], float]
BASELINE = re.compile(r"(\S+) version (\d+) ([0-9a-f]{64}) target=")


def upgrade() -> None:
    given = op.create_table(
        "given_releases",
        sa.Column("fleet", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("given_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["fleet"], ["fleets.name"]),
        sa.PrimaryKeyConstraint("fleet", "name", "version", "content_hash"),
    )
    found: dict[tuple[str, str, int, str], float] = {}
    for fleet, release, at in [*_planned(), *_baselines(), *_audited()]:
        key = (fleet, release["name"], release["version"], release["content_hash"])
        found[key] = min(at, found.get(key, at))
    columns = ("fleet", "name", "version", "content_hash")
    rows = [dict(zip(columns, key, strict=True)) | {"given_at": at} for key, at in found.items()]
    if rows:
        op.bulk_insert(given, rows)


def downgrade() -> None:
    op.drop_table("given_releases")


def _planned() -> Iterator[Given]:
    query = sa.text("SELECT fleet, plan, created_at FROM rollouts")
    for fleet, plan, at in op.get_bind().execute(query).all():
        yield fleet, json.loads(plan)["release"], at


def _baselines() -> Iterator[Given]:
    query = sa.text("SELECT name, baselines, created_at FROM fleets")
    for fleet, baselines, at in op.get_bind().execute(query).all():
        for one in json.loads(baselines):
            yield fleet, one["release"], at


def _audited() -> Iterator[Given]:
    """Baselines that others have taken the place of stand in the audit log alone."""
    query = sa.text(
        "SELECT a.fleet, a.detail, a.at FROM audit a JOIN fleets f ON f.name = a.fleet "
        "WHERE a.action = 'fleet.baseline'"
    )
    for fleet, detail, at in op.get_bind().execute(query).all():
        match = BASELINE.match(detail)
        if match:
            yield fleet, {"name": match[1], "version": int(match[2]), "content_hash": match[3]}, at
