"""The test lock's ledger over the versions of one eval set that exclusions make."""

import sqlite3

from store.read.query import select
from store.read.rows import SplitUseRow


def test_uses(connection: sqlite3.Connection, version: str, file_version: str) -> list[SplitUseRow]:
    """Who used the test split of an eval set, the earliest first.

    `version` is that of the examples that remain, `file_version` that of the whole file: taking an example
    out makes a new version, and does not unlock the test split.
    """
    return select(
        connection,
        SplitUseRow,
        "SELECT * FROM splituse WHERE split = 'test' AND (eval_set IN (?1, ?2) OR eval_set IN "
        "(SELECT eval_set FROM run WHERE json_extract(data_summary, '$.file_version') = ?2)) ORDER BY id",
        version,
        file_version,
    )
