"""What a worker loads before its work: imported once, by the process that workers are forked from."""

from peft import PeftModel
from sklearn.cluster import MiniBatchKMeans
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from engine.benchmarks import harness
from engine.metrics.language import languages
from engine.models import local
from engine.run import execute as run
from engine.servers import control

__all__ = [
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "LlamaForCausalLM",
    "MiniBatchKMeans",
    "PeftModel",
    "control",
    "harness",
    "local",
    "run",
]  # fmt: skip

languages()  # reads the model that tells them
