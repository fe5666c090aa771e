"""How sure a figure is: the 95 % interval beside each value.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two ends of the interval; figures of before have none until they are measured anew."""
    op.add_column("measurements", sa.Column("low", sa.Text(), nullable=True))
    op.add_column("measurements", sa.Column("high", sa.Text(), nullable=True))
