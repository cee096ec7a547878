"""Checkpoints of a training that goes from nothing to the sample adapter: each is the adapter, scaled."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

SAMPLES = Path(__file__).parents[2] / "samples"
BASE = SAMPLES / "models/base"
_ADAPTER = SAMPLES / "models/adapters/good"


def make_checkpoints(folder: Path, count: int) -> list[Path]:
    """`checkpoint-1` to `checkpoint-<count>`; the last is the sample adapter itself."""
    weights = load_file(_ADAPTER / "adapter_model.safetensors")
    config = json.loads((_ADAPTER / "adapter_config.json").read_text())
    made = []
    for step in range(1, count + 1):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        scaled = {
            name: tensor * (step / count) if "lora_B" in name else tensor for name, tensor in weights.items()
        }
        save_file(scaled, checkpoint / "adapter_model.safetensors")
        recorded = config | {"base_model_name_or_path": str(BASE)}
        (checkpoint / "adapter_config.json").write_text(json.dumps(recorded))
        made.append(checkpoint)
    return made


def write_sweep(folder: Path, more: str = "", by: str = "perplexity", keep: int = 2, sample: int = 4) -> Path:
    """A small plan over the checkpoints in a folder beside it."""
    path = folder / "plan.toml"
    path.write_text(
        f"""
name = "sweep"
models = {{ sweep = "outputs/checkpoint-*", dtype = "float32", device = "cpu" }}
[data]
examples = {json.dumps(str(SAMPLES / "eval/domain.jsonl"))}
sample = 6
[generation]
max_new_tokens = 24
[metrics]
use = ["token_f1", "perplexity"]
[sweep]
keep = {keep}
by = "{by}"
sample = {sample}
[[judges]]
name = "reference"
{more}
"""
    )
    return path
