"""A missing value is NULL in every JSON column; earlier versions wrote the JSON text "null"."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = {
    "run": ("options", "data_summary", "environment"),
    "example": ("messages", '"references"', "extra"),
    "model": ("details", "probe"),
    "metric": ("settings",),
    "judge": ("details",),
    "alert": ("evidence",),
    "response": ("turns",),
    "score": ("parts",),
    "judgment": ("flags",),
    "rating": ("scores", "flags"),
    "audit": ("details",),
}


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        values = ", ".join(f"{column} = nullif({column}, 'null')" for column in columns)
        op.execute(f"UPDATE {table} SET {values} WHERE 'null' IN ({', '.join(columns)})")
