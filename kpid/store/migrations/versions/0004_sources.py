"""Why a sync waits, and what kind of pass over a source it was.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add until when a source asked to be left alone, and the kind; all passes of before were syncs."""
    op.add_column("sync_runs", sa.Column("deferred_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("sync_runs", sa.Column("kind", sa.String(length=16), nullable=False, server_default="sync"))
