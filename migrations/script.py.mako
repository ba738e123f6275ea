"""${message.rstrip(".")}.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

from alembic import op

% if "import ledgerviews.schema" not in (imports or ""):
import ledgerviews.schema  # noqa: F401  (registers op.ledgerviews_*)
% endif
${"\n" + imports + "\n" if imports else ""}
revision = "${up_revision}"
down_revision = ${f'"{down_revision}"' if isinstance(down_revision, str) else repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
