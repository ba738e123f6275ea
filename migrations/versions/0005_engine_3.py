"""Engine 3: relations can be compared with their declarations, replaced under their readers, and released.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

import ledgerviews.schema  # noqa: F401  (registers op.ledgerviews_*)

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.ledgerviews_engine(version=3, previous=2)


def downgrade() -> None:
    op.ledgerviews_engine(version=2, previous=3)
