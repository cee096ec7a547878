"""Which rows belong to a run: what goes with it when it is removed for good, or into another store.

A row belongs to its run by one column that names the run, one of its models, or one of its judges.
"""

from store.records import RECORDS, Run
from store.records.columns import columns, table_name


def _owners() -> dict[str, tuple[str, str]]:
    found = {table_name(Run): ("id", table_name(Run))}
    for record in RECORDS:
        for column in columns(record):
            if column.refers and column.refers.owned:
                found[table_name(record)] = (column.name, column.refers.table)
    return found


OWNERS = _owners()
"""By table, parents before children: the column that names the owner, and the owner's table.

Examples belong to their eval set, and are not listed.
"""


def belongs(table: str, chosen: str, schema: str = "main") -> str:
    """An SQL condition on the rows of a table that belong to the runs whose ids the query `chosen` gives."""
    column, owner = OWNERS[table]
    if owner == table_name(Run):
        return f"{column} IN ({chosen})"
    return f"{column} IN (SELECT id FROM {schema}.{owner} WHERE run_id IN ({chosen}))"
