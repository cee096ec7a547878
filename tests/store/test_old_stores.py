"""A store made by an earlier version, with rows of every kind, opens and can be read whole."""

import gzip
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from store import database, records
from store.read import (
    answers,
    datasets,
    evidence,
    history,
    judging,
    labels,
    live,
    queues,
    runs,
    slices,
    trends,
)
from store.read.query import fetch
from store.records.columns import columns, table_name
from store.transfer import doctor, export
from store.write import one_transaction

DUMP = Path(__file__).parent / "fixtures" / "schema-0003.sql.gz"


def restored(folder: Path) -> Path:
    """The store as it was made, brought up to date: six runs, of which one evaluated real models."""
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(folder / database.FILE)) as connection:
        connection.executescript(gzip.decompress(DUMP.read_bytes()).decode())
        # Most writers of that version wrote what was missing in this way.
        for table, column in (("example", "messages"), ("example", "extra"), ("metric", "settings")):
            connection.execute(f"UPDATE {table} SET {column} = 'null' WHERE {column} IS NULL")
        connection.commit()
    (folder / database.FILE).chmod(0o600)
    database.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restored(tmp_path_factory.mktemp("old") / "store")


@pytest.fixture
def connection(old: Path) -> Iterator[history.Connection]:
    with closing(history.attach(database.connect(old))) as connection:
        yield connection


def test_it_is_brought_to_the_schema_of_today(old: Path) -> None:
    assert database.schema_of(old) == database.SCHEMA
    assert [finding for finding in doctor.examine(old) if finding.check in ("integrity", "schema")]


# Than that store.
YOUNGER = {
    records.StoredSample,
    records.StoredVariant,
    records.StoredVariantAnswer,
    records.StoredVariantScore,
    records.TrafficEvent,
    records.TrafficFeedback,
    records.TrafficMeasures,
    records.TrafficReceipt,
    records.TrafficWeek,
    records.TrafficAlert,
    records.EvalProposal,
    records.Track,
}


@pytest.mark.parametrize("record", records.RECORDS, ids=lambda record: record.__name__)
def test_every_row_becomes_a_record(connection: history.Connection, record: type[records.Record]) -> None:
    found = fetch(connection, record)
    assert found or record in YOUNGER
    assert all(type(each) is record for each in found)


@pytest.mark.parametrize("record", records.RECORDS, ids=lambda record: record.__name__)
def test_a_missing_value_is_null(connection: history.Connection, record: type[records.Record]) -> None:
    for column in columns(record):
        if column.kind == "json":
            sql = f"SELECT count(*) FROM {table_name(record)} WHERE \"{column.name}\" = 'null'"
            assert connection.execute(sql).fetchone()[0] == 0


def test_an_example_stored_anew_is_not_an_edited_one(old: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(old, tmp_path / "store"))
    with closing(history.attach(database.connect(own))) as connection:
        found = fetch(connection, records.StoredExample)
        eval_set = found[0].eval_set
        again = [replace(each, id=0, eval_set="again") for each in found if each.eval_set == eval_set]
        with one_transaction(own) as transaction:
            transaction.append(again)
        assert datasets.changes(connection, eval_set, "again") == datasets.Changes(0, 0, 0, (), (), ())


def test_an_old_run_is_the_best_of_a_measure_that_has_no_settings(old: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(old, tmp_path / "store"))
    with closing(history.attach(database.connect(own))) as connection:
        measured = [metric for metric in fetch(connection, records.StoredMetric) if metric.settings is None]
        for metric in measured:
            before = history.run(connection, metric.run_id)
            candidates = fetch(connection, records.StoredModel, run_id=before.id, role="candidate")
            scores = [
                score.value
                for model in candidates
                for score in fetch(connection, records.ModelScore, model_id=model.id, measure=metric.measure)
                if score.value is not None
            ]
            if scores and before.eval_set:
                break
        connection.execute("UPDATE model SET passed = 1 WHERE run_id = ?", (before.id,))
        run = replace(fetch(connection, records.Run, id=before.id)[0], id=0)
        with one_transaction(own) as transaction:
            newer = transaction.insert(run)
            transaction.append(replace(metric, run_id=newer))
        best = runs.best(connection, newer, metric.measure)
        assert best is not None


def test_everything_that_screens_read_can_be_read(connection: history.Connection) -> None:
    page = runs.page(connection)
    assert [row.id for row in page] == [6, 5, 4, 3, 2, 1]
    assert trends.measures(connection)
    assert trends.trend(connection, "rougeL")
    assert labels.tags(connection) and labels.failures(connection) and labels.by_run(connection)
    assert datasets.eval_sets(connection) and live.speeds(connection)
    assert history.alerts(connection)
    for row in page:
        detail = history.run(connection, row.id)
        models = history.models(connection, row.id)
        assert detail.name == row.name and models
        history.metrics(connection, row.id)
        history.judges(connection, row.id)
        history.model_scores(connection, row.id)
        history.comparisons(connection, row.id)
        history.win_rates(connection, row.id)
        history.benchmarks(connection, row.id)
        history.leaks(connection, row.id)
        history.alerts(connection, row.id)
        judging.judging(connection, row.id)
        judging.disputes(connection, judging.judges(connection, row.id))
        live.progress(connection, row.id)
        live.vitals(connection, row.id)
        live.events(connection, row.id)
        live.failed(connection, row.id)
        live.latest_verdicts(connection, row.id)
        live.missing_answers(connection, row.id)
        slices.slices(connection, row.id)
        slices.slice_scores(connection, row.id)
        slices.corpora(connection, row.id)
        slices.disparities(connection, row.id)
        runs.fold_runs(connection, row.id)
        export.run_content(connection, row.id)
        queues.annotated(connection, row.id)
        queues.annotated_examples(connection, row.id)
        answers.leak_cases(connection, row.id, 5)
        answers.answer_counts(connection, row.id)
        answers.annotations(connection, row.id)
        answers.alike(connection, row.id, labels.tags(connection)[0].name)
        runs.previous_run(connection, row.id)
        runs.acknowledged(connection, row.id)
        datasets.leaks(connection, datasets.leak_ids(connection, row.id))
        labels.criteria(connection, row.id)
        for kind in export.QUERIES:
            list(export.records(connection, row.id, kind))
        sides = [model.id for model in models]
        for example in evidence.run_examples(connection, row.id):
            assert answers.answered(connection, row.id, example.id) is not None
            found = answers.pair(connection, row.id, sides[-1], sides[0], example.id)
            assert found.example.query == example.query
        queues.queue(connection, row.id, sides[-1], sides[0])
        for model in models:
            list(evidence.scores(connection, model.id))
            runs.samples(connection, model.id)
            runs.earlier(connection, model.fingerprint or "", 0)
