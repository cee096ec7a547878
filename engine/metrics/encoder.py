"""Models that read texts for a metric: found and checked when the metric is made, loaded when first used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.errors import BadInput
from engine.models.fingerprint import FileHashes, model_hash
from engine.models.folder import check_model_folder
from engine.plan.model_files import read_json

Result = TypeVar("Result")

# Positions are counted from behind the padding token's own in these families.
_OFFSET_FAMILIES = {
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "longformer",
    "roberta-prelayernorm",
}
_HASHES = FileHashes()


@dataclass(frozen=True, slots=True)
class Read:
    """What a model made of one text.

    `vectors` are float32 on the CPU, [tokens, width]; `counted` [tokens] is False for the tokens that the
    tokenizer puts at the start and end. `cut` says that the text was longer than the model's context.
    """

    vectors: Any
    counted: Any
    cut: bool


class Encoder:
    """A transformers model from a folder or the hub cache, on the GPU where there is one.

    `setting` is what a person wrote ("metrics.bertscore.model"). Raises BadInput when the model's files are
    not at hand: no network is used.
    """

    def __init__(self, path: str, setting: str, batch_size: int, head: str = "AutoModel") -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            place = f"{setting.rpartition('.')[0]}.batch_size"
            raise BadInput(f"{place}: found {batch_size!r}; allowed: a whole number from 1")
        try:
            self.folder = check_model_folder(path)
        except BadInput as error:
            raise BadInput(f"{setting}: {error.message}", error.hint) from error
        self.name = path
        self.config = read_json(self.folder / "config.json")
        self.hash = model_hash(self.folder, _HASHES)[:8]
        self.batch_size = batch_size
        self._head = head
        self._loaded: tuple[Any, Any] | None = None

    @property
    def layers(self) -> int:
        return int(self.config.get("num_hidden_layers") or self.config.get("n_layers") or 0)

    def load(self) -> tuple[Any, Any]:
        """The tokenizer, and the model in float32."""
        if self._loaded is None:
            import torch
            import transformers

            device = "cuda" if torch.cuda.is_available() else "cpu"
            kind = getattr(transformers, self._head)
            model = kind.from_pretrained(self.folder, local_files_only=True, dtype=torch.float32)
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            tokenizer.padding_side = "right"
            self._loaded = tokenizer, model.to(device).eval()
        return self._loaded

    def context(self) -> int:
        """The most tokens that the model reads at once, those at the ends included."""
        tokenizer, model = self.load()
        positions = getattr(model.config, "max_position_embeddings", None) or 512
        if model.config.model_type in _OFFSET_FAMILIES:
            positions -= (model.config.pad_token_id or 0) + 1
        return int(min(positions, tokenizer.model_max_length))

    def read(self, texts: Sequence[str], layer: int) -> list[Read | None]:
        """Each text's hidden states after `layer` layers; None for one that does not fit into memory."""
        return self.batched(texts, lambda batch: self._read(batch, layer))

    def batched(
        self, texts: Sequence[str], run: Callable[[Sequence[str]], Sequence[Result]]
    ) -> list[Result | None]:
        """Runs texts in batches of like length, halved when memory is short, and puts them back in order."""
        from engine.models.batches import in_batches

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]), reverse=True)
        results: list[Result | None] = [None] * len(texts)

        def work(places: Sequence[int]) -> list[Result | None]:
            return list(run([texts[place] for place in places]))

        done: Iterator[list[Result | None]] = in_batches(
            order, self.batch_size, work, lambda _: None, lambda _: None
        )
        places = iter(order)
        for batch in done:
            for result in batch:
                results[next(places)] = result
        return results

    def _read(self, texts: Sequence[str], layer: int) -> list[Read]:
        import torch

        tokenizer, model = self.load()
        context = self.context()
        batch = tokenizer(
            [encodable(text) for text in texts],
            padding=True,
            truncation=True,
            max_length=context,
            return_tensors="pt",
        )
        ids, mask = batch["input_ids"], batch["attention_mask"].bool()
        ends = [tokenizer.cls_token_id, tokenizer.sep_token_id]
        outside = torch.tensor([end for end in ends if end is not None], dtype=ids.dtype)
        with torch.inference_mode():
            inputs = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
            states = model(**inputs, output_hidden_states=True).hidden_states[layer].float().cpu()
        return [
            Read(
                states[row, mask[row]],
                ~torch.isin(ids[row, mask[row]], outside),
                int(mask[row].sum()) >= context,
            )
            for row in range(len(texts))
        ]


def encodable(text: str) -> str:
    """The text with what no tokenizer takes, half characters, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
