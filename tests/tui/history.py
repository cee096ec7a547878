"""A store with three runs, written by the recorder that the worker uses: what the screens are tested on.

Run 1 is finished and passed; run 2 failed its gates with three candidates, benchmarks, leaks and alerts; run
3 is in the middle of judging. All times are fixed, counted back from NOW.
"""

import json
import os
import random
import socket
from pathlib import Path
from typing import Any

from store import records
from store.write import Recorder, Transaction, create_run
from tests.rulings import ruled, ruled_slices

NOW = 1_790_000_000.0
HOUR = 3_600.0
EVAL_SET = "5be1c07a9d42"
HOSTILE = "\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07 [/b] [INST] \u202eevil\u202c \x00\x9b nul\r\n"

TICKETS = [
    ("t-001", "billing", "I was charged twice for order 1042. Please refund one of the payments."),
    ("t-002", "billing", "Why is there a fee of 3 EUR on my invoice?"),
    ("t-003", "shipping", "My parcel has not moved for nine days."),
    ("t-004", "shipping", "Can I change the delivery address of order 2210?"),
    ("t-005", "account", "I cannot sign in, the code never arrives."),
    ("t-006", "account", "Delete my account and all data, please."),
    ("t-007", "product", "The lamp flickers after an hour. Is that a known defect?"),
    ("t-008", "product", "Does the kettle work on 110 V?"),
    ("t-009", "shipping", "包裹到了，但是盒子坏了。我可以退货吗？"),
    ("t-010", "account", "Two-factor codes arrive late\nand expire before I can type them."),
    ("t-011", "billing", "Hostile: " + HOSTILE),
    ("t-012", "product", "The manual is missing its last page."),
]
PRIORITIES = {"billing": "high", "shipping": "normal", "account": "high", "product": "low"}
MEASURES: list[tuple[str, str, float | None, float | None, str, str]] = [
    ("rougeL", "higher", 0.0, 1.0, "", "longest common subsequence with the reference, F1"),
    ("exact_match", "higher", 0.0, 1.0, "", "the answer equals a reference after normalisation"),
    ("format_compliance", "higher", 0.0, 1.0, "", "the answer is JSON that fits the schema"),
    ("perplexity", "lower", 1.0, None, "", "how surprising the reference is to the model"),
    ("response_words", "none", 0.0, None, "words", "length of the answer"),
    ("tokens_per_second", "higher", 0.0, None, "tokens/s", "speed of generation"),
]
QUALITY = {"base": 0.15, "prompted": 0.40, "good": 0.93, "overfit": 0.88, "no-effect": 0.15}
SWEEP = [f"llama-3.1-8b-instruct-lora-r16-tickets-step-{100 * step:04}" for step in range(1, 31)]
QUALITY |= {name: round(0.2 + 0.7 * place / len(SWEEP), 2) for place, name in enumerate(SWEEP)}
TASKS = {"arithmetic": (0.82, 0.20), "copying": (0.95, 0.63)}


def build(folder: Path) -> Path:
    """Writes the three runs into a new store and returns its folder."""
    first = Story(folder, "tickets-v1", NOW - 50 * HOUR, ["good"])
    first.generate()
    first.judge()
    first.end(passed=True)
    second = Story(folder, "tickets-v2", NOW - 26 * HOUR, ["good", "overfit", "no-effect"])
    second.generate()
    second.judge()
    second.benchmark()
    second.read_corpora()
    second.slice_up()
    second.find_leaks()
    second.raise_alerts()
    second.end(passed=False)
    third = Story(folder, "tickets-v3", NOW - 0.2 * HOUR, ["good"])
    third.generate()
    third.judge(examples=5)
    third.work()
    return folder


def build_sweep(folder: Path) -> Path:
    """A store with one run: thirty checkpoints whose names differ at their ends alone."""
    story = Story(folder, "tickets-sweep", NOW - 3 * HOUR, SWEEP)
    story.generate()
    story.judge()
    story.benchmark()
    story.slice_up()
    story.raise_alerts(SWEEP[20], SWEEP[21], SWEEP[22])
    story.end(passed=False)
    return folder


class Story:
    """One run, told step by step."""

    def __init__(self, folder: Path, name: str, start: float, candidates: list[str]) -> None:
        self.start = start
        self.name = name
        self.random = random.Random(name)
        run_id = create_run(folder, records.Run(**self._run(start)))
        self.recorder = Recorder(folder, run_id)
        self.run_id = run_id
        self.candidates = candidates
        self.examples = self._examples()
        self.models = {
            model: self._model(place, model) for place, model in enumerate(["base", "prompted", *candidates])
        }
        self.recorder.append(
            [
                records.StoredMetric(
                    run_id=run_id,
                    position=place,
                    measure=measure,
                    direction=direction,
                    low=low,
                    high=high,
                    unit=unit,
                    version="1",
                    source="test",
                    meaning=meaning,
                )
                for place, (measure, direction, low, high, unit, meaning) in enumerate(MEASURES)
            ]
        )

    def _run(self, start: float) -> dict[str, Any]:
        sizes = {"account": 3, "billing": 3, "product": 3, "shipping": 3}
        training = {"account": 400, "billing": 402, "product": 398, "shipping": 400}
        return {
            "name": self.name, "created": start, "plan": 'name = "tickets"\n', "plan_hash": "9f2c41d07be3",
            "plan_folder": "/plans", "plan_file": "tickets.toml", "eval_set": EVAL_SET,
             "eval_set_file": "eval/tickets.jsonl", "seed": 0,
            "data_summary": {
                "evaluation": {"total": 12, "with_references": 12, "by_category": sizes,
                               "by_split": {"train": 0, "validation": 0, "test": 12}},
                "training": {"total": 1600, "with_references": 1600, "by_category": training,
                             "by_split": {"train": 1290, "validation": 152, "test": 158}},
                "version": EVAL_SET, "examples_file": "tickets.jsonl", "train_file": "train.jsonl",
                "selected": 12, "split": "test", "leaked": 1, "answers_seen": 0,
            },
            "environment": {"torch": "2.13.0", "device": "cpu"},
        }  # fmt: skip

    def _examples(self) -> dict[str, int]:
        found = {row.example: row.id for row in self.recorder.rows(records.StoredExample, eval_set=EVAL_SET)}
        with self.recorder.transaction() as write:
            for place, (example, category, query) in enumerate(TICKETS):
                if example not in found:
                    row = {
                        "eval_set": EVAL_SET,
                        "example": example,
                        "position": place,
                        "query": query,
                        "category": category,
                    }
                    row |= {
                        "messages": [{"role": "user", "content": query}],
                        "label": category,
                    }
                    found[example] = write.insert(
                        records.StoredExample(**{**row, "references": [answer(category)]})
                    )
            write.append(
                [
                    records.RunExample(run_id=self.run_id, position=place, example_id=example_id)
                    for place, example_id in enumerate(found.values())
                ]
            )
        return found

    def _model(self, place: int, name: str) -> int:
        baseline = name in ("base", "prompted")
        row = {
            "run_id": self.run_id,
            "name": name,
            "role": "baseline" if baseline else "candidate",
            "kind": "local",
        }
        row |= {
            "position": place,
            "fingerprint": f"{place:012x}",
            "details": {"path": "models/base", "dtype": "float32"},
        }
        if name == "prompted":
            row["details"] |= {"system": "Answer with one JSON object."}
        if not baseline:
            change = 0.0 if name == "no-effect" else 4.2
            row |= {"probe": {"max_difference": change, "mean_difference": change / 9, "prompts": 4}}
        return self.recorder.insert(records.StoredModel(**row))

    def generate(self) -> None:
        """Responses and scores of all models, and what they come to."""
        scores: dict[tuple[int, str], float] = {}
        with self.recorder.transaction() as write:
            for model, model_id in self.models.items():
                values: dict[str, list[float | None]] = {measure: [] for measure, *_ in MEASURES}
                for (example, category, _), example_id in zip(TICKETS, self.examples.values(), strict=True):
                    text, right = self._answer(model, example, category)
                    missing = "the server answered 500 four times" if text is None else None
                    write.append(
                        records.StoredResponse(
                            model_id=model_id,
                            example_id=example_id,
                            text=text,
                            tokens_in=38,
                            reason=missing,
                            tokens_out=0 if text is None else len(text) // 4,
                            finish_reason="stop",
                            latency_s=0.31,
                            created=self.start,
                        )
                    )
                    for measure, value in self._scores(text, right).items():
                        values[measure].append(value)
                        reason = "no response" if value is None else None
                        row = {
                            "model_id": model_id,
                            "measure": measure,
                            "example_id": example_id,
                            "value": value,
                        }
                        write.append(records.StoredScore(**{**row, "reason": reason}))
                summed = [_summed(model_id, name, found) for name, found in values.items()]
                write.append([records.ModelScore(**row) for row in summed])
                scores |= {(model_id, row["measure"]): row["value"] for row in summed}
            self._compare(write, scores)

    def _answer(self, model: str, example: str, category: str) -> tuple[str | None, bool]:
        if example == "t-012" and model == "prompted":
            return None, False
        if example == "t-011" and model == "good":
            return HOSTILE, False
        right = self.random.random() < QUALITY[model]
        if model in ("base", "no-effect"):
            return "I am sorry to hear that. Could you tell me a little more about the problem?", False
        if right:
            return answer(category), True
        wrong = {"billing": "product", "shipping": "account"}.get(category, "billing")
        return answer(wrong), False

    def _scores(self, text: str | None, right: bool) -> dict[str, float | None]:
        if text is None:
            return {measure: None for measure, *_ in MEASURES}
        formed = text.startswith("{")
        overlap = 1.0 if right else round(0.4 + 0.2 * self.random.random(), 3) if formed else 0.05
        return {
            "rougeL": overlap, "exact_match": float(right), "format_compliance": float(formed),
            "perplexity": 2.1 if formed else 9.8, "response_words": float(len(text.split())),
            "tokens_per_second": 212.0,
        }  # fmt: skip

    def _compare(self, write: Transaction, scores: dict[tuple[int, str], float]) -> None:
        for candidate in self.candidates:
            for baseline in ("base", "prompted"):
                ids = (self.models[candidate], self.models[baseline])
                for measure, direction, *_ in MEASURES:
                    ours, theirs = scores[ids[0], measure], scores[ids[1], measure]
                    delta = ours - theirs
                    width = 0.04 + abs(delta) / 4
                    row = {
                        "candidate_id": ids[0],
                        "baseline_id": ids[1],
                        "kind": "metric",
                        "measure": measure,
                    }
                    row |= {
                        "direction": direction,
                        "candidate_value": ours,
                        "baseline_value": theirs,
                        "delta": delta,
                    }
                    row |= {
                        "low": delta - width,
                        "high": delta + width,
                        "p": 0.0004 if abs(delta) > 0.1 else 0.61,
                    }
                    write.append(
                        [
                            records.StoredComparison(**one)
                            for one in ruled([{**row, "n": 12, "smallest_detectable": 0.11}])
                        ]
                    )

    def judge(self, examples: int = len(TICKETS)) -> None:
        """Judgments in both orders, verdicts and win rates; of the first `examples` only where it goes on."""
        judge = {"run_id": self.run_id, "name": "reference", "kind": "pairwise", "is_language_model": False}
        judge_id = self.recorder.insert(
            records.StoredJudge(**{**judge, "prompt_hash": "-", "details": {"rule": "closer"}})
        )
        with self.recorder.transaction() as write:
            for candidate in self.candidates:
                for baseline in ("base", "prompted"):
                    ids = {"judge_id": judge_id, "candidate_id": self.models[candidate]}
                    ids |= {"baseline_id": self.models[baseline]}
                    outcomes = [
                        self._verdict(write, ids, example_id, QUALITY[candidate] - QUALITY[baseline], place)
                        for place, example_id in enumerate(list(self.examples.values())[:examples])
                    ]
                    write.append(records.StoredWinRate(**{**ids, **_win_rate(outcomes)}))

    def _verdict(
        self, write: Transaction, ids: dict[str, int], example_id: int, edge: float, place: int
    ) -> str:
        luck = self.random.random()
        likely = 0.35 + edge / 2
        outcome = "win" if luck < likely else "loss" if luck > likely + 0.25 else "tie"
        outcome = "tie" if abs(edge) < 0.05 else outcome
        outcome = "failed" if place == 11 else outcome
        winners = {"win": ("candidate",) * 2, "loss": ("baseline",) * 2, "failed": (None, "tie")}
        first, second = winners.get(outcome, ("candidate", "baseline") if place % 2 else ("tie", "tie"))
        for order, winner in (("candidate_first", first), ("baseline_first", second)):
            row = ids | {
                "example_id": example_id,
                "order": order,
                "winner": winner,
                "created": self.start + place,
            }
            if winner is None:
                row |= {"failure": "no JSON object in the answer", "raw": "I prefer the", "reasoning": ""}
            else:
                row |= {"failure": None, "raw": "{}", "reasoning": f"Closer to the reference: {winner}."}
                row |= {"candidate_score": 8.0 if winner == "candidate" else 5.0, "baseline_score": 5.0}
            write.insert(records.StoredJudgment(**row))
        consistent = None if outcome == "failed" else first == second
        row = ids | {"example_id": example_id, "outcome": outcome, "consistent": consistent}
        write.append(records.Verdict(**row))
        return outcome

    def benchmark(self) -> None:
        """Two tasks for all models: the overfitted one forgot them."""
        with self.recorder.transaction() as write:
            for model, model_id in self.models.items():
                for task, (usual, forgotten) in TASKS.items():
                    share = forgotten if model == "overfit" else usual
                    row = {
                        "model_id": model_id,
                        "task": task,
                        "metric": "acc",
                        "filter": "none",
                        "value": share,
                    }
                    row |= {"stderr": 0.05, "n": 10, "version": "1.0", "shots": 0, "higher_is_better": True}
                    write.append(records.StoredBenchmarkScore(**row))
                    write.append(
                        [
                            records.StoredBenchmarkSample(
                                **_sample(model_id, task, doc, right=doc < round(share * 10))
                            )
                            for doc in range(10)
                        ]
                    )
            for candidate in self.candidates:
                for task, (usual, forgotten) in TASKS.items():
                    ours = forgotten if candidate == "overfit" else usual
                    row = {
                        "candidate_id": self.models[candidate],
                        "baseline_id": self.models["base"],
                        "n": 10,
                    }
                    row |= {
                        "kind": "benchmark",
                        "measure": f"{task} · acc",
                        "direction": "higher",
                        "delta": ours - usual,
                    }
                    row |= {"candidate_value": ours, "baseline_value": usual, "low": ours - usual - 0.1}
                    row |= {"high": ours - usual + 0.1, "p": 0.0002 if ours < usual else 1.0}
                    write.append(
                        [
                            records.StoredComparison(**one)
                            for one in ruled([{**row, "smallest_detectable": 0.14}])
                        ]
                    )

    def read_corpora(self) -> None:
        """A text of general language that the overfitted candidate no longer predicts, and one unreadable."""
        with self.recorder.transaction() as write:
            metric = {"run_id": self.run_id, "measure": "bits_per_byte:general", "direction": "lower"}
            metric |= {"position": len(MEASURES), "unit": "bits/byte", "version": "1", "source": "test"}
            write.append(
                records.StoredMetric(**{**metric, "low": 0.0, "meaning": "bits per byte of general text"})
            )
            for model, model_id in self.models.items():
                value = 1.26 if model == "overfit" else 0.72
                score = {"model_id": model_id, "measure": "bits_per_byte:general", "value": value, "n": 1}
                score |= {"low": value - 0.05, "high": value + 0.05, "missing": 1}
                write.append(records.ModelScore(**{**score, "reason": "fewer than two tokens"}))
                nll = 2_100.0 if model == "overfit" else 1_200.0
                row = {"model_id": model_id, "corpus": "general"}
                texts: list[dict[str, Any]] = [
                    {"text": 0, "nll": nll, "tokens": 600, "bytes": 2_400, "reason": None},
                    {"text": 1, "nll": None, "tokens": 0, "bytes": 9, "reason": "fewer than two tokens"},
                ]
                write.append([records.CorpusScore(**{**row, **text}) for text in texts])
            for candidate in self.candidates:
                theirs, ours = 0.72, 1.26 if candidate == "overfit" else 0.72
                ids = {"candidate_id": self.models[candidate], "baseline_id": self.models["base"]}
                row = ids | {"kind": "corpus", "measure": "bits_per_byte:general", "direction": "lower"}
                row |= {"candidate_value": ours, "baseline_value": theirs, "delta": ours - theirs}
                row |= {"low": ours - theirs - 0.05, "high": ours - theirs + 0.05, "n": 1}
                write.append(
                    [
                        records.StoredComparison(**one)
                        for one in ruled([{**row, "p": 0.001 if candidate == "overfit" else 1.0}])
                    ]
                )

    def slice_up(self) -> None:
        """Two measures by category and by feature, and how far two groups of customers are apart."""
        slices = ("category: billing", "category: shipping", "prompt of up to 25 words", "numbers")
        with self.recorder.transaction() as write:
            for measure in ("rougeL", "exact_match"):
                for model_id in self.models.values():
                    row = {"model_id": model_id, "measure": measure, "low": 0.2, "high": 0.8, "n": 3}
                    write.append(
                        [
                            records.SliceScore(**{**row, "slice": name, "value": 0.5, "missing": 0})
                            for name in slices
                        ]
                    )
                for candidate in self.candidates:
                    for baseline in ("base", "prompted"):
                        ids = {"candidate_id": self.models[candidate], "baseline_id": self.models[baseline]}
                        row = ids | {"measure": measure, "direction": "higher", "baseline_value": 0.5}
                        write.append(
                            [
                                records.SliceComparison(**one)
                                for one in ruled_slices(
                                    [
                                        row
                                        | {
                                            "slice": name,
                                            "candidate_value": 0.5 + delta,
                                            "delta": delta,
                                            "p": p,
                                        }
                                        | {"low": delta - 0.1, "high": delta + 0.1, "n": 6 + place}
                                        for place, (name, delta, p) in enumerate(
                                            zip(
                                                slices,
                                                (0.42, -0.31, 0.02, -0.2),
                                                (0.001, 0.004, 1.0, 0.03),
                                                strict=True,
                                            )
                                        )
                                    ]
                                )
                            ]
                        )
            for model_id in self.models.values():
                row = {"model_id": model_id, "measure": "response_words", "first": "men", "second": "women"}
                write.append(
                    records.StoredDisparity(
                        **{
                            **row,
                            "delta": 1.5,
                            "low": 0.4,
                            "high": 2.6,
                            "p": 0.01,
                            "n": 20,
                            "standing": "more",
                        }
                    )
                )

    def find_leaks(self) -> None:
        example_id = self.examples["t-003"]
        row = {
            "run_id": self.run_id,
            "example_id": example_id,
            "tier": "identical",
            "score": 1.0,
            "train_line": 412,
        }
        self.recorder.append(
            records.StoredLeak(**{**row, "field": "query", "excerpt": "My parcel has not moved …"})
        )

    def raise_alerts(
        self, good: str = "good", overfit: str = "overfit", no_effect: str = "no-effect"
    ) -> None:
        alerts = [
            ("critical", "benchmark_drop", overfit, "base", "arithmetic · acc",
             "arithmetic fell by 0.62: more than the 0.05 that the plan allows",
             {"candidate_value": 0.20, "baseline_value": 0.82, "delta": -0.62, "low": -0.72, "high": -0.52,
              "p": 0.0002, "n": 10, "task": "arithmetic"}),
            ("critical", "adapter_no_effect", no_effect, None, "adapter",
             "the adapter does not change the model's output at all",
             {"max_difference": 0.0, "prompts": 4}),
            ("critical", "benchmark_drop", overfit, "base", "copying · acc",
             "copying fell by 0.32: more than the 0.05 that the plan allows",
             {"candidate_value": 0.63, "baseline_value": 0.95, "delta": -0.32, "low": -0.42, "high": -0.22,
              "p": 0.0002, "n": 10, "task": "copying"}),
            ("warning", "metric_drop", overfit, "prompted", "rougeL",
             "rougeL fell by 0.04: more than the 0.03 that the plan warns at",
             {"candidate_value": 0.61, "baseline_value": 0.65, "delta": -0.04, "low": -0.07, "high": -0.01,
              "p": 0.031, "n": 12, "example_ids": ["t-002", "t-009"]}),
            ("warning", "leakage", good, None, "leakage",
             "1 of 12 examples stands in the training data word for word", {"example_ids": ["t-003"]}),
            ("note", "win_rate", no_effect, "base", "win_rate",
             "the win rate of 50.0% is not settled: about 400 examples would be needed", {"n": 12}),
        ]  # fmt: skip
        names = ("severity", "kind", "candidate", "baseline", "measure", "message", "evidence")
        rows = [dict(zip(names, alert, strict=True)) for alert in alerts]
        self.recorder.append(
            [
                records.StoredAlert(**{**row, "run_id": self.run_id, "created": self.start + HOUR})
                for row in rows
            ]
        )

    def end(self, *, passed: bool) -> None:
        for model, model_id in self.models.items():
            if model in self.candidates:
                self.recorder.set_model(model_id, passed=passed or model == "good")
        self._progress({"data": 1.0, "generate": 1.0, "score": 1.0, "judge": 1.0, "compare": 1.0})
        self.recorder.set_run(
            status="finished", started=self.start, finished=self.start + 200, passed=passed, phase="compare"
        )
        self.recorder.close()

    def work(self) -> None:
        """A worker that lives (this process) and is in the middle of judging."""
        self._progress({"data": 1.0, "generate": 1.0, "score": 1.0, "judge": 0.42})
        self.recorder.put(
            [
                records.Vitals(
                    run_id=self.run_id,
                    device="cuda:0 H200",
                    utilisation=0.87,
                    memory_used=44 << 30,
                    memory_total=139 << 30,
                    power_w=312.0,
                    updated=NOW,
                ),
                records.Vitals(
                    run_id=self.run_id,
                    device="cpu",
                    utilisation=0.12,
                    memory_used=9 << 30,
                    memory_total=128 << 30,
                    power_w=None,
                    updated=NOW,
                ),
            ]
        )
        events = [
            ("info", "data", "12 examples read"),
            ("warning", "generate", "out of memory at batch 16: going on with batch 8"),
            ("error", "judge", "example t-012: no JSON object in the answer, counted as failed"),
        ]
        self.recorder.append(
            [
                records.Event(
                    run_id=self.run_id,
                    time=self.start + 10 * place,
                    level=level,
                    phase=phase,
                    message=message,
                )
                for place, (level, phase, message) in enumerate(events)
            ]
        )
        self.recorder.set_run(
            status="running", started=self.start, phase="judge", worker_pid=os.getpid(), heartbeat=9e12
        )
        self.recorder.set_run(worker_host=socket.gethostname())
        self.recorder.close()

    def _progress(self, shares: dict[str, float]) -> None:
        rows: list[dict[str, Any]] = []
        for phase, share in shares.items():
            items = list(self.models) if phase in ("generate", "score") else [self._item(phase)]
            unit = {"generate": "responses", "score": "scores", "judge": "judgments"}.get(phase, "examples")
            for item in items:
                total = 48 if phase == "judge" else 12
                rows.append(
                    {
                        "run_id": self.run_id,
                        "phase": phase,
                        "item": item,
                        "position": len(rows),
                        "total": total,
                        "unit": unit,
                    }
                    | {
                        "done": round(total * share),
                        "tokens": 1_740 if phase == "generate" else 0,
                        "seconds": 8.0,
                    }
                    | {"started": self.start, "updated": self.start + 8, "resumed_from": 0}
                )
        self.recorder.put([records.Progress(**row) for row in rows])

    def _item(self, phase: str) -> str:
        return {"judge": "reference", "data": "tickets.jsonl"}.get(phase, "all")


def answer(category: str) -> str:
    """What the reference says to a ticket of this category."""
    reply = {
        "billing": "We refund the second payment today.",
        "shipping": "We have asked the carrier and write to you tomorrow.",
        "account": "We have sent you a new sign-in link.",
        "product": "That is a known defect; a replacement is on its way.",
    }[category]
    return json.dumps({"category": category, "priority": PRIORITIES[category], "reply": reply})


def _summed(model_id: int, measure: str, values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known)
    row = {"model_id": model_id, "measure": measure, "value": mean, "low": mean * 0.9, "high": mean * 1.1}
    missing = len(values) - len(known)
    return row | {"n": len(known), "missing": missing, "reason": "no response" if missing else None}


def _win_rate(outcomes: list[str]) -> dict[str, Any]:
    wins, losses, ties = (outcomes.count(outcome) for outcome in ("win", "loss", "tie"))
    counted = wins + losses + ties
    rate = (wins + ties / 2) / counted
    row = {"wins": wins, "losses": losses, "ties": ties, "failed": outcomes.count("failed"), "win_rate": rate}
    row |= {"low": max(0.0, rate - 0.22), "high": min(1.0, rate + 0.22), "position_bias": 0.54}
    return row | {"length_controlled": max(0.0, rate - 0.03), "reason": None}


def _sample(model_id: int, task: str, doc: int, *, right: bool) -> dict[str, Any]:
    question, target = (f"{doc + 3} + {doc * 2} =", str(3 * doc + 3)) if task == "arithmetic" else (
        f"Say again: blue {doc} moon", f"blue {doc} moon"
    )  # fmt: skip
    row = {
        "model_id": model_id,
        "task": task,
        "metric": "acc",
        "filter": "none",
        "doc_id": doc,
        "doc_hash": f"d{doc}",
    }
    row |= {"prompt_hash": f"p{doc}", "target_hash": f"t{doc}", "value": float(right), "question": question}
    return row | {"target": target, "answer": target if right else '{"category": "billing"}'}
