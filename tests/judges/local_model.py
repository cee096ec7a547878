"""A judging model whose every probability is known: the next word depends on the last one alone.

It is a Llama with attention and feed-forward switched off, so that its output layer is a table of
transitions; everything around it (loading, templates, batching, likelihoods) is the real thing.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

START = "<|assistant|>"
END = "<end>"
_TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}" + START


def make_judge(folder: Path, transitions: Mapping[str, Mapping[str, float]], context: int = 4096) -> Path:
    """A model folder; `transitions` gives each word's successors with their probabilities.

    Answers begin after START and stop at END; a word without successors is followed by END.
    """
    words = {END: None, "<unk>": None, START: None}
    for word, after in transitions.items():
        words |= {word: None} | dict.fromkeys(after)
    vocabulary = {word: place for place, word in enumerate(words)}
    size = len(vocabulary) + len(vocabulary) % 2
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        eos_token_id=vocabulary[END],
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    table = torch.full((size, size), -1e4)
    for word, place in vocabulary.items():
        for after, probability in transitions.get(word, {END: 1.0}).items():
            table[vocabulary[after], place] = math.log(probability)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        # The norm makes a one-hot vector as long as the root of its size.
        model.lm_head.weight.copy_(table / math.sqrt(size))
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token=END, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = _TEMPLATE
    wrapped.save_pretrained(folder)
    return folder
