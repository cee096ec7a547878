"""The benches of generation: every way answers alike, and the GPU's script runs in its tiny form."""

import io
from dataclasses import replace

import pytest
import torch

from bench import gpu, threads
from bench.generation import SHAPES, Bench
from engine.models.batcher import Figures

SHORT = replace(SHAPES["tiny"], answer=6, longest=24)


def test_slots_and_static_batches_give_the_texts_of_each_prompt_alone() -> None:
    bench = Bench(SHORT, 4)
    right, _ = bench.one_at_a_time()
    assert bench.slots_of(2)()[0] == right
    assert bench.static_of(2)()[0] == right


def test_the_script_for_gpus_runs_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("bench.gpu.quiet", lambda: None)
    monkeypatch.setattr("bench.gpu.COPIED", 2**16)
    monkeypatch.setitem(SHAPES, "tiny", SHORT)
    gpu.main(["--prompts", "4"])
    out = capsys.readouterr().out
    for said in ("| slots |", "| lm-eval hf, batch 32 |", "of the roofline", "peak memory", "two adapters"):
        assert said in out


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
