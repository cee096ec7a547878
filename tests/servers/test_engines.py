"""The engines beside vLLM: how they are found, started and asked, and how their answers are read.

llama.cpp's server has a stand-in here; tests/models/test_llama.py has the real one.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput, CannotRun
from engine.plan.plan import Compute
from engine.servers import control, started
from engine.servers.engines import Engine, Holding, Llama, Sglang, _llama, installed
from engine.servers.started import StartedServer, choice_of
from engine.servers.wire import Reply, read_reply
from tests.servers.fake_llama import answer, program_in

LLAMA = Llama(Path("/opt/llama-server"), "b11434 (1d735c0)")
SGLANG = Sglang(Path("/opt/bin/sglang"), "0.5.9", Path("/opt/bin/python"), "sglang")
GREEDY = {"prompt": [5, 6, 7], "max_tokens": 4, "temperature": 0, "ignore_eos": True, "stop_token_ids": [2]}


def holding(**more: Any) -> Holding:
    return Holding(Path("/models/export.gguf"), (), 0, (), "float32", 97, **more)


class TestLlama:
    def at(self, program: Path) -> Engine:
        _llama.cache_clear()
        return installed("llama.cpp", Compute.model_construct(llama_server=program))

    @pytest.mark.parametrize(
        ("printed", "version"),
        [
            ("version: 0.6.1 (build 11434, commit 1d735c0)\n", "b11434 (1d735c0)"),
            ("version: 5200 (1d735c0b)\n", "b5200 (1d735c0b)"),
        ],
    )
    def test_the_version_is_what_the_program_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, version: str
    ) -> None:
        monkeypatch.setenv("FAKE_LLAMA", json.dumps({"version": printed}))
        found = self.at(program_in(tmp_path))
        assert isinstance(found, Llama)
        assert (found.version, found.devices, found.build) == (version, (), None)

    def test_a_build_without_a_number_is_told_by_its_content(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unknown = "version: 0.6.1 (build 0, commit unknown)\n"
        monkeypatch.setenv("FAKE_LLAMA", json.dumps({"version": unknown}))
        one = self.at(program_in(tmp_path))
        (tmp_path / "libllama.so.0").write_bytes(b"another")
        other = self.at(tmp_path / "llama-server")
        assert one.version == other.version == "b0 (unknown)"
        assert one.identity(holding()) != other.identity(holding())

    def test_what_is_no_server_of_llama_is_refused_with_the_line_that_installs_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAKE_LLAMA", json.dumps({"version": "ollama version is 0.9\n"}))
        with pytest.raises(BadInput, match=r"is not llama\.cpp's server") as error:
            self.at(program_in(tmp_path))
        assert 'llama_server = "…/llama-server"' in error.value.hint
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
        with pytest.raises(BadInput, match="there is no llama-server on PATH"):
            installed("llama.cpp", Compute())

    def test_every_slot_has_room_for_the_longest_text(self) -> None:
        flags = " ".join(LLAMA.flags(holding(slots=4)))
        assert "--parallel 4 --ctx-size 392" in flags
        assert "--no-context-shift --cache-ram 0" in flags and "--no-kv-unified" in flags
        assert "--parallel 8 --ctx-size 784" in " ".join(LLAMA.flags(holding()))

    def test_its_threads_are_a_part_of_the_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
        monkeypatch.setattr("psutil.cpu_count", lambda logical: 4)
        threads = {n: LLAMA.flags(holding(parts=n)) for n in (1, 2, 5)}
        assert [flags[flags.index("--threads") + 1] for flags in threads.values()] == ["4", "2", "1"]

    def test_a_machine_with_gpus_can_be_told_to_use_none(self) -> None:
        with_gpu = Llama(LLAMA.program, LLAMA.version, ("CUDA0",))
        assert "--device none" in " ".join(with_gpu.flags(holding(device="cpu")))
        assert "--device" not in with_gpu.flags(holding(device="1"))
        assert with_gpu.environment(holding(device="1"), "key")["CUDA_VISIBLE_DEVICES"] == "1"

    def test_the_key_is_in_the_environment_alone_and_no_flag_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LLAMA_ARG_N_PREDICT", "5")
        environment = LLAMA.environment(holding(), "the-key")
        assert environment["LLAMA_API_KEY"] == "the-key" and "LLAMA_ARG_N_PREDICT" not in environment
        assert "the-key" not in " ".join(LLAMA.command(holding(), 1, None))

    def test_a_greedy_question_sets_all_that_has_another_default(self) -> None:
        asked = Llama.native.ask(GREEDY)
        assert asked["samplers"] == ["temperature"] and asked["temperature"] == 0
        assert (asked["top_k"], asked["top_p"], asked["min_p"]) == (0, 1.0, 0.0)
        assert (asked["repeat_penalty"], asked["mirostat"], asked["cache_prompt"]) == (1.0, 0, False)
        assert asked["return_tokens"] and asked["n_predict"] == 4
        assert "ignore_eos" not in asked  # which would forbid the end tokens, and so change the text

    def test_samples_are_drawn_in_the_order_of_transformers(self) -> None:
        drawn = {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "seed": (1 << 63) - 1}
        asked = Llama.native.ask(GREEDY | drawn | {"repetition_penalty": 1.2})
        assert asked["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]
        assert asked["repeat_last_n"] == 7  # the prompt and the answer, and not the last 64 tokens
        assert asked["seed"] == (1 << 31) - 1  # the last of 32 bits would be: any

    @pytest.mark.parametrize("changed", ["top_k", "seed", "samplers"])
    def test_a_setting_that_was_not_applied_refuses_the_answer(self, changed: str) -> None:
        reply = self.read(answer(Llama.native.ask(GREEDY), changed))
        with pytest.raises(CannotRun, match=f"llama.cpp does not apply {changed}"):
            choice_of(LLAMA, reply)

    def test_a_prompt_that_got_a_token_more_refuses_the_answer(self) -> None:
        told = answer(Llama.native.ask(GREEDY)) | {"tokens_evaluated": 4}
        with pytest.raises(CannotRun, match=r"llama\.cpp does not apply prompt"):
            choice_of(LLAMA, self.read(told))

    def test_an_answer_is_read_with_its_tokens(self) -> None:
        reply = self.read(answer(Llama.native.ask(GREEDY)))
        assert choice_of(LLAMA, reply)["token_ids"] == [28, 29, 30, 31]
        assert (reply.tokens_in, reply.tokens_out, reply.finish_reason) == (3, 4, "length")
        ended = self.read(answer(Llama.native.ask(GREEDY)) | {"stop_type": "eos"})
        assert ended.finish_reason == "stop"
        broken = self.read(answer(Llama.native.ask(GREEDY)) | {"stop_type": "none"})
        assert broken.finish_reason == "none"  # which is no end of an answer

    def read(self, told: dict[str, Any]) -> Reply:
        asked = Llama.native.ask(GREEDY)
        content = json.dumps(told).encode()
        return read_reply(content, 0.1, plain=True, read=lambda data: Llama.native.read(asked, data))


class TestSglang:
    def test_its_key_is_in_a_file_and_every_flag_is_given_whose_default_computes_something_else(self) -> None:
        command = " ".join(SGLANG.command(holding(options={"tensor_parallel_size": 2}), 8, Path("/k/c.yaml")))
        assert command.startswith("/opt/bin/python -P -m sglang.launch_server --config /k/c.yaml")
        assert "--host 127.0.0.1 --port 8" in command and "--dtype float32" in command
        assert "--sampling-defaults openai" in command and "--disable-radix-cache" in command
        assert "--context-length 97" in command and "--tensor-parallel-size 2" in command

    def test_a_question_sets_all_that_has_another_default(self) -> None:
        asked = Sglang.native.ask(GREEDY)
        assert asked["input_ids"] == [5, 6, 7] and "return_logprob" not in asked
        sampling = asked["sampling_params"]
        assert sampling["temperature"] == 0 and sampling["repetition_penalty"] == 1.0
        assert sampling["stop_token_ids"] == [2] and sampling["ignore_eos"]

    def test_the_log_probabilities_of_a_prompt_have_the_rank_that_benchmarks_ask_for(self) -> None:
        asked = Sglang.native.ask({"prompt": [5, 6, 7], "max_tokens": 1, "prompt_logprobs": 0})
        told = {
            "text": " text",
            "output_ids": [9],
            "meta_info": {
                "finish_reason": {"type": "length", "length": 1},
                "prompt_tokens": 3,
                "completion_tokens": 1,
                "input_token_logprobs": [[None, 5, None], [-0.5, 6, None], [-2.0, 7, None]],
                "input_top_logprobs": [None, [[-0.5, 6, None]], [[-0.1, 8, None]]],
            },
        }
        reply = read_reply(
            json.dumps(told).encode(), 0.1, plain=True, read=lambda data: Sglang.native.read(asked, data)
        )
        choice = choice_of(SGLANG, reply)
        assert choice["token_ids"] == [9]
        assert choice["prompt_logprobs"][1:] == [
            {"6": {"logprob": -0.5, "rank": 1}},
            {"7": {"logprob": -2.0, "rank": 2}},
        ]


@pytest.mark.e2e
class TestServer:
    @pytest.fixture
    def program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        control.forget()
        monkeypatch.setattr(started, "HAND_OVER", 0.05)
        yield program_in(tmp_path)
        control.forget()

    def server(self, program: Path, monkeypatch: pytest.MonkeyPatch, **ways: Any) -> StartedServer:
        monkeypatch.setenv("FAKE_LLAMA", json.dumps({"folder": str(program.parent), **ways}))
        self.told: list[str] = []
        engine = installed("llama.cpp", Compute.model_construct(llama_server=program))
        return StartedServer(engine, holding(slots=2), lambda level, said: self.told.append(said))

    def test_a_server_that_dies_is_started_again_and_asked_for_the_rest(
        self, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = self.server(program, monkeypatch, dies=5)
        questions = [{**GREEDY, "prompt": [place, 1]} for place in range(20)]
        found = {place: reply for batch in server.ask("base", questions) for place, reply in batch}
        server.close()
        tokens = [choice_of(server.engine, found[place])["token_ids"][0] for place in range(20)]
        assert tokens == [place + 11 for place in range(20)]
        assert "died and is started again: ggml_cuda_error: CUDA error: out of memory" in self.told[1]

    def test_a_server_that_cannot_start_says_its_first_cause(
        self, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = self.server(program, monkeypatch, broken="unknown model architecture: 'tomorrow'")
        with pytest.raises(CannotRun, match=r"llama\.cpp b11434.*error loading model: unknown model arch"):
            list(server.ask("base", [GREEDY]))
