"""What a worker loads before its work: imported once, by the process that workers are forked from."""

from peft import PeftModel
from sklearn.cluster import MiniBatchKMeans
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from engine import run
from engine.benchmarks import harness
from engine.generate import local
from engine.judge import servers

__all__ = [
    "AutoModelForCausalLM", "AutoTokenizer", "LlamaForCausalLM", "MiniBatchKMeans", "PeftModel", "harness",
    "local", "run", "servers",
]  # fmt: skip
