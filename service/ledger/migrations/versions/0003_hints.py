"""What others say of series: announcements, labels

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "announcement",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_announcement_sop_instance_uid")),
    )
    op.create_table(
        "announced_series",
        sa.Column("announcement_id", WHOLE, nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("instances", WHOLE, nullable=False),
        sa.Column("sop_instance_uids", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["announcement_id"],
            ["announcement.id"],
            name=op.f("fk_announced_series_announcement_id"),
        ),
        sa.PrimaryKeyConstraint(
            "announcement_id", "series_instance_uid", name=op.f("pk_announced_series")
        ),
    )
    op.create_index(
        op.f("ix_announced_series_series_instance_uid"), "announced_series", ["series_instance_uid"]
    )
    op.create_table(
        "label",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("note_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("meaning", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("labelled_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        sa.UniqueConstraint(
            "note_uid", "sop_instance_uid", name=op.f("uq_label_note_uid_sop_instance_uid")
        ),
    )
    op.create_index(op.f("ix_label_series_instance_uid"), "label", ["series_instance_uid"])


def downgrade() -> None:
    for table in ("label", "announced_series", "announcement"):
        op.drop_table(table)
