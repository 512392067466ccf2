"""What a provisional verdict rests on, so that no older one takes its place

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COLUMNS = ("provisional_generation", "provisional_slices")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("series", sa.Column(name, WHOLE, nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("series", name)
