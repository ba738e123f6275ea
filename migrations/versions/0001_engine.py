"""Install the engine: reading functions, registry, run log and refresh, all in the schema ledgerviews.

Revision ID: 0001
Revises:
"""

from alembic import op

import ledgerviews.schema  # noqa: F401  (registers op.ledgerviews_*)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.ledgerviews_engine(version=1, previous=0)


def downgrade() -> None:
    op.ledgerviews_engine(version=0, previous=1)
