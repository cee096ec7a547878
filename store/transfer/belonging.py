"""Which rows belong to a run: what goes with it when it is removed for good, or into another store.

A row belongs to its run by one column that names the run, one of its models, or one of its judges.
"""

# Parents before children. Examples belong to their eval set, and are not listed.
OWNERS = {
    "run": "id",
    "model": "run_id",
    "metric": "run_id",
    "judge": "run_id",
    "runexample": "run_id",
    "progress": "run_id",
    "vitals": "run_id",
    "event": "run_id",
    "leak": "run_id",
    "alert": "run_id",
    "runmark": "run_id",
    "annotation": "run_id",
    "reviewplace": "run_id",
    "splituse": "run_id",
    "response": "model_id",
    "score": "model_id",
    "modelscore": "model_id",
    "slicescore": "model_id",
    "corpusscore": "model_id",
    "disparity": "model_id",
    "benchmarkscore": "model_id",
    "benchmarksample": "model_id",
    "comparison": "candidate_id",
    "slicecomparison": "candidate_id",
    "judgment": "judge_id",
    "verdict": "judge_id",
    "winrate": "judge_id",
    "rating": "judge_id",
    "ranking": "judge_id",
    "audit": "judge_id",
}


def belongs(table: str, chosen: str, schema: str = "main") -> str:
    """An SQL condition on the rows of a table that belong to the runs whose ids the query `chosen` gives."""
    owner = OWNERS[table]
    if owner in ("id", "run_id"):
        return f"{owner} IN ({chosen})"
    parent = "judge" if owner == "judge_id" else "model"
    return f"{owner} IN (SELECT id FROM {schema}.{parent} WHERE run_id IN ({chosen}))"
