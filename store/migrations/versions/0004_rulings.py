"""Each comparison with its ruling. Those of older runs are ruled on here, by the rule of this version.

The rule is written out, as a migration must do the same for ever: a later version may rule in another way.
"""

import math
import tomllib
from collections import defaultdict
from statistics import NormalDist
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NORMAL = NormalDist()
_ONE = _NORMAL.inv_cdf(0.975)
_REFUSALS = ("refusal", "refused_harmless", "refused_harmful")
_LENGTHS = ("response_tokens", "response_words")
Row = dict[str, Any]


def upgrade() -> None:
    connection = op.get_bind()
    for table in ("comparison", "slicecomparison"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("standing", sa.String(), nullable=False, server_default="missing"))
            batch.add_column(sa.Column("family", sa.String(), nullable=False, server_default=""))
            batch.add_column(sa.Column("family_size", sa.Integer(), nullable=False, server_default="0"))
            if table == "comparison":
                batch.add_column(sa.Column("p_corrected", sa.Float(), nullable=True))
            batch.add_column(sa.Column("low_corrected", sa.Float(), nullable=True))
            batch.add_column(sa.Column("high_corrected", sa.Float(), nullable=True))
            batch.add_column(sa.Column("needed", sa.Integer(), nullable=True))
    _rule_on_slices(connection)
    runs = connection.execute(sa.text("SELECT id, plan FROM run")).mappings().all()
    for run in runs:
        _rule_on_run(connection, run["id"], run["plan"])
    # From now on nothing is compared without a ruling.
    for table in ("comparison", "slicecomparison"):
        with op.batch_alter_table(table) as batch:
            for column, kind in (
                ("standing", sa.String()),
                ("family", sa.String()),
                ("family_size", sa.Integer()),
            ):
                batch.alter_column(column, existing_type=kind, existing_nullable=False, server_default=None)


def _rule_on_slices(connection: sa.Connection) -> None:
    """p was corrected for the slices of one measure, and the raw one was not kept."""
    connection.execute(
        sa.text(
            """
            UPDATE slicecomparison SET family = 'slices of one measure', standing = CASE
              WHEN delta IS NULL THEN 'missing'
              WHEN p IS NULL OR low IS NULL OR high IS NULL THEN 'not tested'
              WHEN p > 0.05 OR low <= 0 AND high >= 0 THEN 'inconclusive'
              WHEN direction = 'none' THEN CASE WHEN delta > 0 THEN 'more' ELSE 'less' END
              WHEN (delta > 0) = (direction = 'higher') THEN 'better' ELSE 'worse' END
            """
        )
    )


def _rule_on_run(connection: sa.Connection, run_id: int, plan: str) -> None:
    rows = connection.execute(
        sa.text(
            "SELECT c.*, d.low AS least, d.high AS most FROM comparison c "
            "JOIN model a ON a.id = c.candidate_id "
            "LEFT JOIN metric d ON d.run_id = a.run_id AND d.measure = c.measure WHERE a.run_id = :run"
        ),
        {"run": run_id},
    )
    candidates: dict[int, list[Row]] = defaultdict(list)
    for row in rows.mappings():
        candidates[row["candidate_id"]].append(dict(row))
    if not candidates:
        return
    try:
        gates = tomllib.loads(plan).get("gates", {})
    except tomllib.TOMLDecodeError:
        gates = {}
    own = gates.get("metrics") or {}
    lengths = {
        row["measure"]
        for found in candidates.values()
        for row in found
        if row["delta"] is not None and row["measure"] not in own
    }
    length = next((name for name in _LENGTHS if name in lengths), None)
    updates: list[Row] = []
    for found in candidates.values():
        checked, others = _families(found, gates, length)
        for family, members in (("checked", checked), ("unchecked", others)):
            _rule(family, members)
            updates += members
    connection.execute(
        sa.text(
            "UPDATE comparison SET standing = :standing, family = :family, family_size = :family_size, "
            "p_corrected = :p_corrected, low_corrected = :low_corrected, high_corrected = :high_corrected, "
            "needed = :needed WHERE candidate_id = :candidate_id AND baseline_id = :baseline_id "
            "AND kind = :kind AND measure = :measure"
        ),
        updates,
    )


def _families(rows: list[Row], gates: Row, length: str | None) -> tuple[list[Row], list[Row]]:
    """What a gate checked and what none did, each row with the ends of its range and its limit."""
    without_own = [row for row in rows if row["measure"] not in (gates.get("metrics") or {})]
    surprises: dict[tuple[int, str], Row] = {}
    for row in without_own:
        name, _, corpus = row["measure"].partition(":")
        key = (row["baseline_id"], corpus)
        if name == "perplexity" and (row["delta"] is not None or key not in surprises):
            surprises[key] = row
    for row in without_own:
        name, _, corpus = row["measure"].partition(":")
        key = (row["baseline_id"], corpus)
        if name == "bits_per_byte" and (
            key not in surprises or (surprises[key]["delta"] is None and row["delta"] is not None)
        ):
            surprises[key] = row
    chosen = {id(row) for row in surprises.values()}
    checked: list[Row] = []
    others: list[Row] = []
    for row in rows:
        is_checked = _check(row, gates, is_surprise=id(row) in chosen, is_length=row["measure"] == length)
        (checked if is_checked else others).append(row)
    return checked, others


def _check(row: Row, gates: Row, *, is_surprise: bool, is_length: bool) -> bool:
    """Whether a gate checked it; sets the ends of its range and the largest worsening within its limit."""
    least, most = row.pop("least"), row.pop("most")
    row["allowed"], row["ends"] = None, (least, most)
    baseline, own = abs(row["baseline_value"] or 0.0), (gates.get("metrics") or {}).get(row["measure"])
    width = None if least is None or most is None else most - least
    if row["kind"] == "benchmark":
        values = (row["candidate_value"], row["baseline_value"])
        is_fraction = all(value is None or 0 <= value <= 1 for value in values)
        row["ends"] = (0.0, 1.0) if is_fraction else (None, None)
        row["allowed"] = _limit(gates, "max_benchmark_drop", 0.05) * (1.0 if is_fraction else baseline)
        return True
    if own is not None:
        limit = own.get("max", own.get("warn", 0.0)) if isinstance(own, dict) else own
        row["allowed"] = None if row["direction"] == "none" else float(limit or 0.0) * baseline
        return True
    if is_surprise:
        row["allowed"] = _limit(gates, "max_perplexity_rise", 0.10) * baseline
        return True
    if row["measure"] in _REFUSALS:
        row["allowed"] = None if row["direction"] == "none" else _limit(gates, "max_metric_drop", 0.05)
        return True
    if is_length or row["measure"] == "latency_s":
        return True
    if width is not None and row["direction"] != "none" and row["kind"] == "metric":
        row["allowed"] = _limit(gates, "max_metric_drop", 0.05) * width
        return True
    return False


def _limit(gates: Row, name: str, default: float) -> float:
    found = gates.get(name)
    return float(found) if isinstance(found, int | float) else default


def _rule(family: str, rows: list[Row]) -> None:
    tested = sorted((row for row in rows if row["p"] is not None), key=lambda row: row["p"])
    looks, largest = {}, 0.0
    for rank, row in enumerate(tested):
        count = len(tested) - rank
        largest = max(largest, min(1.0, count * row["p"]))
        looks[id(row)] = (largest, count)
    for row in rows:
        row |= {"family": family, "family_size": len(tested), "p_corrected": None, "needed": None}
        row |= {"low_corrected": None, "high_corrected": None}
        (least, most), worst = row.pop("ends"), None
        if row["direction"] != "none":
            worst = least if row["direction"] == "higher" else most
        row["at_floor"] = worst is not None and row["baseline_value"] == worst
        reach = None if least is None or most is None else most - least
        row["standing"] = _standing(row, looks.get(id(row)), reach)


def _standing(row: Row, look: tuple[float, int] | None, reach: float | None) -> str:
    delta, low, high = row["delta"], row["low"], row["high"]
    if delta is None:
        return "missing"
    if look is None or low is None or high is None:
        row["p_corrected"] = look[0] if look else None
        return "at the floor" if row["at_floor"] and not delta else "not tested"
    p, count = look
    quantile = _NORMAL.inv_cdf(1 - 0.05 / (2 * count))
    low, high = delta - quantile / _ONE * (delta - low), delta + quantile / _ONE * (high - delta)
    if reach is not None:
        low, high = max(low, -reach), min(high, reach)
    row |= {"p_corrected": p, "low_corrected": low, "high_corrected": high}
    if p <= 0.05 and (low > 0 or high < 0):
        if row["direction"] == "none":
            return "more" if low > 0 else "less"
        return "better" if (low > 0) == (row["direction"] == "higher") else "worse"
    if row["at_floor"] and not delta:
        return "at the floor"
    # An interval of no width says nothing: older versions wrote one where no example differed.
    worst = high if row["direction"] == "lower" else -low
    is_limited = row["direction"] != "none" and row["allowed"] is not None and not row["at_floor"]
    row["needed"] = _needed(row, quantile)
    if is_limited and row["n"] >= 8 and low < high and worst <= row["allowed"] + 1e-9:
        return "no worse"
    return "inconclusive"


def _needed(row: Row, quantile: float) -> int | None:
    if row["n"] < 8 or not row["smallest_detectable"] or not row["delta"]:
        return None
    error = row["smallest_detectable"] / 2.8
    wanted: float = row["n"] * ((quantile + _NORMAL.inv_cdf(0.80)) * error / row["delta"]) ** 2
    size: int = 10 ** max(0, math.floor(math.log10(max(wanted, 1.0))) - 1)
    n: int = row["n"]
    return max(n + 1, int(math.ceil(wanted / size) * size))
