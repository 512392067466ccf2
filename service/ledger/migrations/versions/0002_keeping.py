"""housekeeping: absent files, jobs, leases, daily statistics"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "absent_file",
        sa.Column("object_id", WHOLE, nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"], ["object.id"], name=op.f("fk_absent_file_object_id")
        ),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_absent_file")),
    )
    op.create_table(
        "job",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("succeeded_at", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("runs", WHOLE, nullable=False),
        sa.Column("failures", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job")),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "scanner_day",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("scanner", sa.String(length=200), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("series", WHOLE, nullable=False),
        sa.Column("meets", WHOLE, nullable=False),
        sa.Column("does_not_meet", WHOLE, nullable=False),
        sa.Column("unusable", WHOLE, nullable=False),
        sa.Column("not_assessed", WHOLE, nullable=False),
        sa.Column("alarms", WHOLE, nullable=False),
        sa.Column("median_score", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("day", "scanner", "modality", name=op.f("pk_scanner_day")),
    )


def downgrade() -> None:
    for table in ("scanner_day", "lease", "job", "absent_file"):
        op.drop_table(table)
