"""A plan is read whole, and everything wrong with one is said at once, with the way out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.plan.plan import Judge, Metrics, Model, Plan, parse_plan, read_plan

MODELS = """
[[models]]
name = "base"
role = "baseline"
path = "models/base"

[[models]]
name = "lora"
role = "candidate"
path = "models/base"
adapter = "models/lora"
"""
DATA = """
name = "support"
[data]
examples = "eval.jsonl"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("models/base/config.json", "models/lora/adapter_config.json", "schema.json", "out.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "eval.jsonl").write_text('{"query": "a"}\n')
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "support.md").write_text("You help.\r\nBe kind.\n")
    (tmp_path / "tasks").mkdir()
    return tmp_path


@pytest.fixture
def problems(folder: Path) -> Callable[[str], str]:
    def read(text: str) -> str:
        with pytest.raises(BadInput) as error:
            parse_plan(text, folder)
        return str(error.value)

    return read


def test_defaults_and_absolute_paths(folder: Path) -> None:
    plan = parse_plan(DATA + MODELS, folder)
    assert plan.data.examples == folder / "eval.jsonl"
    assert (plan.data.split, plan.data.ratios, plan.data.seed) == ("all", (0.8, 0.1, 0.1), 0)
    assert [model.name for model in plan.baselines] == ["base"]
    assert [model.name for model in plan.candidates] == ["lora"]
    assert plan.model("lora").path == str(folder / "models/base")
    assert plan.model("lora").adapter == folder / "models/lora"
    assert plan.judges == (Judge(name="reference", kind="pairwise", embedded=True),)
    assert plan.benchmarks is None and plan.gates.max_benchmark_drop == 0.05
    assert (plan.text, plan.folder, plan.file) == (DATA + MODELS, folder, "plan.toml")


def test_every_section(folder: Path) -> None:
    plan = parse_plan(
        DATA
        + """
train = "eval.jsonl"
split = "test"
sample = 20
ratios = [0.5, 0, 0.5]
group = "customer"
fields = { query = "ticket" }

[[models]]
name = "prompted"
role = "baseline"
path = "meta-llama/Llama-3.1-8B-Instruct"
system = "prompts/support.md"
[[models]]
name = "served"
role = "candidate"
server = "http://gpu7:8000/v1"
model = "merged"
api_key_env = "SERVED_KEY"
system = "Answer in one line."
[[models]]
name = "old"
role = "baseline"
outputs = "out.jsonl"

[generation]
temperature = 1
stop = ["###"]
[metrics]
use = ["rouge"]
format = { schema = "schema.json" }
[[judges]]
name = "gpt"
server = "https://api.example.com/v1"
model = "m"
[[judges]]
name = "reference"
[benchmarks]
tasks = ["mmlu"]
include = "tasks/"
[gates]
min_win_rate = 0.55
""",
        folder,
    )
    assert plan.data.fields == {"query": "ticket", "group": "customer"}
    assert [model.kind for model in plan.models] == ["local", "server", "recorded"]
    assert plan.model("prompted").path == "meta-llama/Llama-3.1-8B-Instruct"
    assert plan.model("prompted").system == "You help.\nBe kind."
    assert plan.model("served").system == "Answer in one line."
    assert plan.metrics.use == ("rouge", "format")
    assert plan.metrics.settings == {"format": {"schema": str(folder / "schema.json")}}
    assert [judge.embedded for judge in plan.judges] == [False, True]
    assert plan.benchmarks is not None and plan.benchmarks.include == folder / "tasks"
    assert (plan.gates.min_win_rate, plan.generation.temperature) == (0.55, 1.0)


def test_everything_wrong_is_said_at_once(problems: Callable[[str], str]) -> None:
    message = problems("""
name = "x"
[data]
examples = "evil.jsonl"
splits = "test"
split = "tset"
[[models]]
name = "base"
role = "base"
path = "models/base"
adaptor = "models/lora"
[[models]]
name = "base"
role = "candidate"
path = "./models/bse"
outputs = "gone.jsonl"
[generation]
max_new_tokens = "many"
[metrics]
use = ["rogue", "bleu"]
[gates]
min_win_rate = 55
[benchmark]
tasks = []
""")
    for line in (
        "plan.toml: 14 problems",
        'data.splits: unknown key "splits" (did you mean "split"?); allowed: ',
        "data.split: found 'tset'; allowed: 'all', 'train', 'validation' or 'test' (did you mean \"test\"?)",
        '/evil.jsonl (did you mean "eval.jsonl"?)',
        'models[0].adaptor ("base"): unknown key "adaptor" (did you mean "adapter"?)',
        "models[0].role (\"base\"): found 'base'; allowed: 'baseline' or 'candidate'",
        'models[1].path ("base"): no such folder: ',
        '/models/bse (did you mean "base"?)',
        'models[1].outputs ("base"): no such file',
        'models[1] ("base"): has path and outputs; allowed: exactly one of path, server, outputs',
        'models[1].name ("base"): is also the name of models[0]',
        "models: there is no baseline",
        "generation.max_new_tokens: found 'many'; allowed: a valid integer",
        'metrics.use[0]: unknown metric "rogue" (did you mean "rouge"?)',
        "gates.min_win_rate: found 55; allowed: less than or equal to 1",
        'benchmark: unknown key "benchmark" (did you mean "benchmarks"?)',
    ):
        assert line in message


def test_a_key_in_the_wrong_table_is_sent_to_its_own(problems: Callable[[str], str]) -> None:
    message = problems("min_win_rate = 0.5\n" + DATA + MODELS)
    assert 'unknown key "min_win_rate" (it belongs in [gates])' in message


def test_syntax_errors_name_the_line(problems: Callable[[str], str]) -> None:
    assert "plan.toml: is not TOML: " in problems("name = \n")
    assert "line 3" in problems('name = "x"\n\n[data\n')
    assert "nested too deeply" in problems("x = " + "[" * 100_000)


@pytest.mark.parametrize("role", ["baseline", "candidate"])
def test_a_plan_needs_both_roles(problems: Callable[[str], str], role: str) -> None:
    other = {"baseline": "candidate", "candidate": "baseline"}[role]
    assert f"models: there is no {role}" in problems(DATA + MODELS.replace(f'"{role}"', f'"{other}"'))


def test_missing_tables_are_named(problems: Callable[[str], str]) -> None:
    message = problems("")
    assert all(line in message for line in ("name: is missing", "data: is missing", "models: is missing"))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("models/base/config.json", "is a file, where a model's folder or GGUF file was expected"),
        ("models/lora", "is an adapter: name its base model in path, and this folder in adapter"),
        ("tasks", "is not a model: there is no config.json"),
        ("~/no/such/model", "no such folder"),
        ("/no/such", "no such folder"),
        ("a/b/c", "no such folder"),
        ("two words", "neither a folder that exists nor a hub id"),
        ("", "must name a file or folder"),
        ("models/tuned.gguf", "no such file"),
    ],
)
def test_paths_that_are_no_model(problems: Callable[[str], str], path: str, says: str) -> None:
    assert says in problems(DATA + MODELS.replace('"models/base"', f'"{path}"', 1))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('quantize = "fp4"', "quantize"),
        ('device_map = "balanced"', "device_map"),
        ('max_memory = { cpu = "4GiB" }', 'max_memory ("lora"): belongs with device_map = "auto"'),
        ('device_map = "auto"\nmax_memory = { disk = "4GiB" }', "max_memory"),
        ('device_map = "auto"\nmax_memory = { 0 = "much" }', "max_memory"),
        ('device_map = "auto"\ndevice = "cpu"', 'device ("lora"): does not apply with device_map'),
        ('adapter_revision = "v2"', 'adapter_revision ("lora"): belongs with adapter'),
        ('adapter = "models/lorra"', "no such folder"),
    ],
)
def test_keys_of_loading_that_do_not_go_together(
    problems: Callable[[str], str], lines: str, says: str
) -> None:
    models = MODELS.replace('adapter = "models/lora"\n', "")
    assert says in problems(DATA + models + lines)


def test_a_gguf_file_is_a_model_that_takes_neither_adapter_nor_quantisation(
    folder: Path, problems: Callable[[str], str]
) -> None:
    (folder / "tuned.gguf").write_bytes(b"GGUF")
    models = MODELS.replace('path = "models/base"\nadapter = "models/lora"', 'path = "tuned.gguf"')
    assert parse_plan(DATA + models, folder).model("lora").path == str(folder / "tuned.gguf")
    said = problems(DATA + models + 'quantize = "nf4"\nadapter = "models/lora"')
    assert "quantize" in said and "name the folder of the adapter's base" in said


def test_an_adapter_may_be_on_the_hub(folder: Path) -> None:
    lines = 'adapter = "someone/lora"\nadapter_revision = "v2"\nrevision = "main"\nquantize = "nf4"'
    model = parse_plan(DATA + MODELS.replace('adapter = "models/lora"', lines), folder).model("lora")
    assert model.adapter == Path("someone/lora") and model.adapter_revision == "v2"


def test_a_missing_prompt_file_is_no_prompt(problems: Callable[[str], str]) -> None:
    message = problems(DATA + MODELS + 'system = "prompts/suport.md"')
    assert 'models[1].system ("lora"): no such file' in message and 'did you mean "support.md"?' in message


@pytest.mark.parametrize("text", ["a" * 5000, "line\nline.md", "Be kind / be brief", "."])
def test_other_system_texts_are_taken_as_they_are(folder: Path, text: str) -> None:
    plan = parse_plan(DATA + MODELS + f'system = """{text}"""', folder)
    assert plan.model("lora").system == text


SECRET = "sk-proj-abcDEF0123456789xyz"


def test_a_key_in_a_comment_or_held_by_a_variable_of_the_plan_is_refused_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eval.jsonl").write_text('{"query": "q", "reference": "r"}\n')
    (tmp_path / "a.jsonl").write_text('{"query": "q", "response": "r"}\n')
    models = "".join(
        f'[[models]]\nname = "{role}"\nrole = "{role}"\n{how}\n'
        for role, how in (
            ("baseline", 'outputs = "a.jsonl"'),
            ("candidate", 'server = "http://h/v1"\nmodel = "m"\napi_key_env = "MY_KEY"'),
        )
    )
    plan = tmp_path / "plan.toml"
    monkeypatch.setenv("MY_KEY", "abcdefgh-of-mine")
    for comment in (SECRET, "abcdefgh-of-mine"):
        plan.write_text(f'name = "x"  # {comment}\n[data]\nexamples = "eval.jsonl"\n{models}')
        with pytest.raises(BadInput, match="line 1: a plan is stored with every run") as caught:
            read_plan(plan)
        assert comment not in str(caught.value)
    monkeypatch.setenv("MY_KEY", "x")
    plan.write_text(f'name = "x"\n[data]\nexamples = "eval.jsonl"\n{models}')
    assert read_plan(plan).text


@pytest.mark.parametrize(
    "line",
    [
        f'api_key = "{SECRET}"',
        'api_key = "short"',
        f'api_key_env = "{SECRET}"',
        f'name = "{SECRET}"',
        f'server = "{SECRET}"',
        f'headers = {{ authorization = "Bearer {SECRET}" }}',
    ],
)
def test_a_literal_key_is_refused_and_not_repeated(problems: Callable[[str], str], line: str) -> None:
    message = problems(DATA + MODELS + f"[[judges]]\n{line}\n")
    assert 'put the key in an environment variable and name that here: api_key_env = "MY_KEY"' in message
    assert SECRET not in message and "abcDEF" not in message


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("http://me:secret@host/v1", "must not hold a user or password"),
        ("me:secret@host", "must not hold a user or password"),
        ("http://host/v1?key=secret@1", "must not hold a user or password"),
        ("http://host/v1?api-version=1&key=abcDEF", "must not hold a key"),
        ("http://host/v1?subscription-key=abcDEF", "must not hold a key"),
        ("localhost:8000", "allowed: an address such as"),
        ("http://host:99999", "is not an address"),
    ],
)
def test_addresses(problems: Callable[[str], str], server: str, says: str) -> None:
    judge = f'[[judges]]\nname = "j"\nmodel = "m"\nserver = "{server}"\n'
    message = problems(DATA + MODELS + judge)
    assert says in message and "secret@" not in message and "abcDEF" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[judges]]\nname = "gpt"', "server is missing"),
        ('[[judges]]\nname = "j"\nserver = "http://h/v1"', "model is missing"),
        (
            '[[judges]]\nname = "j"\nkind = "listwise"\nserver = "http://h/v1"\nmodel = "m"',
            "allowed: 'pairwise' or 'pointwise'",
        ),
        ('[[judges]]\nname = "reference"\nembedded = true', 'unknown key "embedded"'),
        ('[[judges]]\nname = "reference"\nrubric = "schema.json"', "does not apply to the embedded judge"),
        ('[[judges]]\nname = "reference"\n[[judges]]\nname = "reference"', "is also the name of judges[0]"),
        ("[gates]\nwarn_metric_drop = 0.2\nmax_metric_drop = 0.1", "gates.warn_metric_drop: found 0.2"),
        ("[gates]\nmin_win_rate = nan", "gates.min_win_rate: found nan"),
        ("[gates]\nmin_win_rate = true", "gates.min_win_rate: found true"),
        ("[generation]\nbatch_size = 0", "generation.batch_size: found 0"),
        ("[generation]\ncache = 1", "generation.cache: found 1"),
        ("[generation]\nsamples = 0", "generation.samples: found 0"),
        ("[generation]\nsamples = 4", "4 samples at temperature 0 are 4 times the same answer"),
        ("[generation]\ntop_k = -1", "generation.top_k: found -1"),
        ("[generation]\nmin_p = 1.5", "generation.min_p: found 1.5"),
        ("[generation]\nrepetition_penalty = 0", "generation.repetition_penalty: found 0"),
        ("[generation]\nstop = 'x'", "generation.stop: found 'x'"),
        ("[generation]\nstop = ['']", "generation.stop[0]: found ''"),
        ("[generation]\nchat_template_kwargs = 'no'", "chat_template_kwargs: found 'no'; allowed: a table"),
        ("[generation]\nchat_template_kwargs = { tokenize = true }", '"tokenize" is no variable'),
        ("[generation]\nchat_template_kwargs = { now = 2024-07-26 }", "a date or a time cannot be sent"),
        ("[metrics]\npass_k = [2]", "metrics.pass_k: found 2; allowed: at most 1"),
        ("[metrics]\npass_k = [0]", "metrics.pass_k[0]: found 0"),
        ("[metrics]\nformat = { schema = 'gone.json' }", "format.schema: no such file"),
        ("[metrics]\nformt = { x = 1 }", 'metrics.formt: unknown metric "formt" (did you mean "format"?)'),
        ("[metrics]\nformat = 3", "metrics.format: found 3; allowed: a valid dictionary"),
        ("[metrics]\nuse = 'rouge'", "metrics.use: found 'rouge'"),
        ("[benchmarks]\ntasks = []", "benchmarks.tasks: "),
        ("[benchmarks]\ntasks = ['a']\ninclude = 'eval.jsonl'", "is a file, where a folder was expected"),
        ("text = 'x'", 'models[1].text ("lora"): unknown key "text"'),
        ("device = 'gpu'", "models[1].device"),
        ("model = 'm'", 'models[1].model ("lora"): does not apply with path; it belongs with run, server'),
        ("trust_remote_code = 'yes'", "models[1].trust_remote_code"),
        ('"a\\u001b[2Jb" = 1', "unknown key \"'a\\x1b[2Jb'\""),
    ],
)
def test_one_thing_wrong(problems: Callable[[str], str], text: str, says: str) -> None:
    message = problems(DATA + MODELS + text)
    assert says in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ratios = [0.5, 0.1, 0.1]", "data.ratios: found a sum of 0.7"),
        ("ratios = [1.5, -0.5, 0]", "data.ratios[0]: found 1.5"),
        ("fields = { qury = 'x' }", 'data.fields.qury: unknown field "qury" (did you mean "query"?)'),
        ("group = 'a'\nfields = { group = 'b' }", "differs from data.fields.group"),
        ("train = 'evl.jsonl'", 'did you mean "eval.jsonl"?'),
        ("sample = 0", "data.sample: found 0"),
    ],
)
def test_one_thing_wrong_with_the_data(problems: Callable[[str], str], text: str, says: str) -> None:
    assert says in problems(DATA + text + MODELS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_from_windows_read_the_same(folder: Path, encoding: str) -> None:
    path = folder / "plan.toml"
    path.write_bytes((DATA + MODELS).replace("\n", "\r\n").encode(encoding))
    plan = read_plan(path)
    assert plan.hash == parse_plan(DATA + MODELS, folder).hash
    assert (plan.file, plan.folder) == (str(path), folder)


def test_a_plan_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.toml: no such file"):
        read_plan(tmp_path / "gone.toml")
    with pytest.raises(BadInput, match="is a folder"):
        read_plan(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\x80\x81\x82\x83")
    with pytest.raises(BadInput, match=r"bytes\.toml:1: is not UTF-8"):
        read_plan(tmp_path / "bytes.toml")


def test_tables_built_in_code_keep_their_paths() -> None:
    model = Model(name="m", role="candidate", path="some/where", adapter=Path("else/where"))
    assert (model.path, model.adapter) == ("some/where", Path("else/where"))
    assert Metrics(use=("bleu",), settings={"format": {}}).settings == {"format": {}}
    assert "models" in Plan.model_fields


def test_the_templates_variables_are_those_of_all_models_and_of_each(folder: Path) -> None:
    recorded = '[[models]]\nname = "old"\nrole = "candidate"\noutputs = "out.jsonl"\n'
    own = "chat_template_kwargs = { enable_thinking = true }\n"
    every = '[generation]\nchat_template_kwargs = { enable_thinking = false, level = "low" }\n'
    plan = parse_plan(DATA + MODELS + own + recorded + every, folder)
    assert [model.chat_template_kwargs for model in plan.models] == [
        {"enable_thinking": False, "level": "low"},
        {"enable_thinking": True, "level": "low"},
        {},
    ]


def test_a_limit_may_be_on_what_samples_tell(folder: Path) -> None:
    def limited(measure: str) -> None:
        sampled = (
            "[generation]\nsamples = 4\ntemperature = 1\n[metrics]\nuse = ['exact_match']\npass_k = [2]\n"
        )
        parse_plan(DATA + MODELS + sampled + f'[gates.metrics]\n"{measure}" = 0.1\n', folder)

    limited("pass^2:exact_match")
    limited("maj@4:exact_match")
    with pytest.raises(BadInput, match=r'no metric of the plan measures "pass@4:exact_match"'):
        limited("pass@4:exact_match")


def test_a_limit_may_be_on_calibration(folder: Path) -> None:
    def limited(measure: str) -> Plan:
        metrics = '[metrics]\nuse = ["calibration"]\n[gates.metrics]\n'
        return parse_plan(DATA + MODELS + metrics + f'"{measure}" = 0.1\n', folder)

    assert all(limited(name).gates.metrics[name].max == 0.1 for name in ("ece", "accuracy@80%", "ece:mmlu"))
    with pytest.raises(BadInput, match='no metric of the plan measures "ecee"'):
        limited("ecee")


def test_a_limit_names_a_measure_that_the_plan_has(folder: Path) -> None:
    def gated(limits: str) -> Plan:
        metrics = '[metrics]\nuse = ["rouge"]\n[gates.metrics]\n'
        return parse_plan(DATA + MODELS + metrics + limits, folder)

    plan = gated('rouge1 = 0.02\nrouge2 = { max = 0.05, warn = 0.01 }\n"judge:gpt" = 0.1')
    assert (plan.gates.metrics["rouge1"].max, plan.gates.metrics["rouge2"].warn) == (0.02, 0.01)
    with pytest.raises(
        BadInput, match=r'gates\.metrics\.rouge_1: no metric of the plan measures "rouge_1"'
    ) as slip:
        gated("rouge_1 = 0.02")
    assert 'did you mean "rouge1"?' in str(slip.value)
    with pytest.raises(
        BadInput, match=r"gates\.metrics\.rouge1\.warn: found 0\.5; allowed: at most max, 0\.1"
    ):
        gated("rouge1 = { max = 0.1, warn = 0.5 }")


def test_vllm_is_one_line_of_a_plan_and_its_keys_apply_with_it_alone(
    folder: Path, problems: Callable[[str], str]
) -> None:
    text = DATA + MODELS + '[generation]\nengine = "vllm"\n[compute]\n'
    given = 'vllm = "out.jsonl"\ntensor_parallel_size = 2\ngpu_memory_utilization = 0.5\n'
    plan = parse_plan(text + given, folder)
    assert plan.generation.engine == "vllm" and plan.compute.vllm == folder / "out.jsonl"
    assert parse_plan(DATA + MODELS, folder).generation.engine == "transformers"
    said = problems(DATA + MODELS + "[compute]\n" + given)
    for key, engines in (
        ("vllm", '"vllm"'),
        ("tensor_parallel_size", '"vllm" or "sglang"'),
        ("gpu_memory_utilization", '"vllm"'),
    ):
        assert f"compute.{key}: does not apply without engine = {engines} under [generation]" in said
    assert 'a run has engine = "vllm" or Ray' in problems(text + 'engine = "ray"\n')
    assert "gone/vllm" in problems(text + 'vllm = "gone/vllm"\n')


def test_an_engine_takes_its_own_keys_alone(folder: Path, problems: Callable[[str], str]) -> None:
    text = DATA + MODELS + '[generation]\nengine = "llama.cpp"\n[compute]\n'
    plan = parse_plan(text + 'llama_server = "out.jsonl"\nmax_model_len = 512\n', folder)
    assert plan.compute.llama_server == folder / "out.jsonl"
    assert 'compute.quantization: does not apply without engine = "vllm" or "sglang"' in problems(
        text + 'quantization = "fp8"\n'
    )


def test_what_sglang_would_apply_otherwise_is_refused(folder: Path, problems: Callable[[str], str]) -> None:
    text = DATA + MODELS + '[generation]\nengine = "sglang"\n'
    assert parse_plan(text, folder).generation.engine == "sglang"
    said = problems(text + "temperature = 0.7\nrepetition_penalty = 1.1\n")
    assert "generation.temperature: SGLang draws samples that a seed does not repeat; allowed: 0" in said
    assert "generation.repetition_penalty: SGLang's reaches over the answer alone; allowed: 1" in said
