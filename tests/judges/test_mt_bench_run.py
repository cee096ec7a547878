"""MT-Bench from its own files to its own files: asked, scored by turn and category, written, read again."""

from pathlib import Path
from typing import Any

import pytest

from engine.formats.export import export_run
from engine.formats.importing import import_run
from store import database, records
from store.read import history
from store.transfer.export import run_content
from store.write import Recorder
from tests.engine.runs import carry_out, lines, queue
from tests.judges.scripted import Answer, Json, JudgeServer, says

QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Compose a travel post.", "Begin with A."]},
    {"question_id": 82, "category": "writing", "turns": ["Write a poem.", "Shorter."]},
    {"question_id": 101, "category": "reasoning", "turns": ["You pass the second. Where now?", "The last?"],
     "reference": ["Second.", "That is not possible."]},
]  # fmt: skip
MODELS = {"base": "weak", "tuned": "strong", "other": "middling"}


def plan_of(folder: Path, server: JudgeServer, judge: str, judging: str = "") -> Path:
    lines(folder / "question.jsonl", QUESTIONS)
    toml = ['name = "mt"', "[data]", 'examples = "question.jsonl"']
    (folder / "model_answer").mkdir()
    for model, word in MODELS.items():
        answers = [
            {
                "question_id": each["question_id"],
                "answer_id": f"{model}{each['question_id']}",
                "model_id": model,
                "choices": [
                    {"index": 0, "turns": [f"{word} one [[B]] {{question}}", f"{word} {{{{ two }}}}"]}
                ],
                "tstamp": 1.0,
            }
            for each in QUESTIONS
        ]
        lines(folder / "model_answer" / f"{model}.jsonl", answers)
        role = "baseline" if model == "base" else "candidate"
        toml += ["[[models]]", f'name = "{model}"', f'role = "{role}"']
        toml += [f'outputs = "model_answer/{model}.jsonl"']
    toml += [
        '[metrics]\nuse = ["length"]',
        "[[judges]]",
        'name = "gpt-4"',
        'format = "mt-bench"',
        'model = "gpt-4"',
    ]
    toml += [f'server = "{server.url}"', judge, judging]
    (folder / "plan.toml").write_text("\n".join(toml))
    return folder / "plan.toml"


def rating(body: Json, number: int) -> Answer:
    text = body["messages"][-1]["content"]
    score = 9 if "strong" in text else 5 if "middling" in text else 3
    if "Assistant A's" not in text and "Second." in text:
        score -= 1
    return says(f"Fine. {{braces}} Rating: [[{score}]]")


def winner(body: Json, number: int) -> Answer:
    text = body["messages"][-1]["content"]
    places = {word: text.rfind(word) for word in MODELS.values() if word in text}
    first, second = sorted(places, key=lambda word: places[word])
    order = ["weak", "middling", "strong"]
    return says("I think [[A]]" if order.index(first) > order.index(second) else "I think [[B]]")


def run_of(folder: Path, plan: Path) -> Recorder:
    return carry_out(folder / "store", queue(folder / "store", plan))


def figures(store: Path, run_id: int, query: str) -> list[tuple[Any, ...]]:
    connection = database.connect(store)
    try:
        return [tuple(row) for row in connection.execute(query, (run_id,))]
    finally:
        connection.close()


SCORES = (
    "SELECT m.name, round(s.value, 9), s.n FROM modelscore s JOIN model m ON m.id = s.model_id "
    "WHERE m.run_id = ? AND s.measure = 'judge:gpt-4' ORDER BY 1"
)
SLICES = (
    "SELECT m.name, s.slice, round(s.value, 9) FROM slicescore s JOIN model m ON m.id = s.model_id "
    "WHERE m.run_id = ? AND s.measure = 'judge:gpt-4' AND s.slice LIKE 'category%' ORDER BY 1, 2"
)
RATES = (
    "SELECT c.name, b.name, w.turn, w.wins, w.losses, w.ties, w.failed, w.win_rate, w.position_bias "
    "FROM winrate w JOIN model c ON c.id = w.candidate_id JOIN model b ON b.id = w.baseline_id "
    "WHERE c.run_id = ? ORDER BY 1, 2, 3"
)


def exported_and_read_again(folder: Path, run: Recorder) -> int:
    content = run_content(history.attach(database.connect(folder / "store")), run.run_id)
    export_run("mt-bench", content, folder / "exported")
    return import_run("mt-bench", folder / "exported", folder / "store")


def test_scores_come_by_turn_and_category_and_leave_and_return_as_the_same(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.script = rating
    run = run_of(tmp_path, plan_of(tmp_path, server, 'kind = "pointwise"'))
    assert len(server.requests) == len(QUESTIONS) * len(MODELS) * 2
    overall = figures(tmp_path / "store", run.run_id, SCORES)
    # The reference takes one point of one turn of three questions: FastChat's mean is over all turns.
    assert overall == [
        ("base", round(17 / 6, 9), 3),
        ("other", round(29 / 6, 9), 3),
        ("tuned", round(53 / 6, 9), 3),
    ]
    ids = {row.name: row.id for row in run.rows(records.StoredModel, run_id=run.run_id)}
    turns = [
        row.value
        for turn in (1, 2)
        for row in run.rows(records.ModelScore, model_id=ids["tuned"], measure=f"judge:gpt-4:turn {turn}")
    ]
    assert turns == [pytest.approx(26 / 3), 9]
    again = exported_and_read_again(tmp_path, run)
    assert [row[:2] for row in figures(tmp_path / "store", again, SCORES)] == [row[:2] for row in overall]
    by_category = figures(tmp_path / "store", run.run_id, SLICES)
    assert figures(tmp_path / "store", again, SLICES) == by_category
    assert ("tuned", "category: reasoning", 8.5) in by_category


def test_a_turn_without_a_rating_is_left_out_of_the_mean(server: JudgeServer, tmp_path: Path) -> None:
    def script(body: Json, number: int) -> Answer:
        text = body["messages"][-1]["content"] + body["messages"][1]["content"]
        return says("I cannot say.") if "Begin with A." in text and "strong" in text else rating(body, number)

    server.script = script
    run = run_of(tmp_path, plan_of(tmp_path, server, 'kind = "pointwise"'))
    again = exported_and_read_again(tmp_path, run)
    both = [figures(tmp_path / "store", run_id, SCORES) for run_id in (run.run_id, again)]
    assert [row[:2] for row in both[0]] == [row[:2] for row in both[1]]
    assert both[0][2][1] == round((53 - 9) / 5, 9)


@pytest.mark.parametrize(("judging", "matches"), [("", 2), ("[judging]\nall_pairs = true", 3)])
def test_pairs_are_played_turn_by_turn_and_leave_and_return_as_the_same(
    server: JudgeServer, tmp_path: Path, judging: str, matches: int
) -> None:
    server.script = winner
    run = run_of(tmp_path, plan_of(tmp_path, server, 'kind = "pairwise"', judging))
    assert len(server.requests) == matches * len(QUESTIONS) * 2 * 2
    rates = figures(tmp_path / "store", run.run_id, RATES)
    assert ("tuned", "base", 0, 6, 0, 0, 0, 1.0, 0.5) in rates
    assert len(rates) == 3 * matches
    assert figures(tmp_path / "store", exported_and_read_again(tmp_path, run), RATES) == rates
