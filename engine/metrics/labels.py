"""Finding a label in free text."""

import re
from collections.abc import Sequence
from itertools import groupby

from engine.data.example import normalise
from engine.errors import BadInput
from engine.metrics.text import spaced

# A hyphen joins words ("non-toxic" is not "toxic"), and so does the point of a decimal number.
_BEFORE = r"(?<![\w-])(?<!\d[.,])"
_AFTER = r"(?![\w-]|[.,]\d)"


class LabelFinder:
    """Finds labels as whole words: at the start of a text before anywhere in it, and longer ones first.

    So "not sure" is never read as "no". Case and Unicode forms are evened out; scripts without word spaces
    are matched by character. `labels` holds them sorted.
    """

    def __init__(self, labels: Sequence[str], where: str = "labels") -> None:
        if isinstance(labels, str) or not all(isinstance(label, str) and label.strip() for label in labels):
            raise BadInput(f"{where}: expected a list of texts, found {labels!r}.")
        self.labels = tuple(sorted(labels))
        self._places = {_form(label): place for place, label in enumerate(self.labels)}
        if len(self._places) < len(self.labels):
            raise BadInput(f"{where}: two labels are the same but for case, white space or Unicode form.")
        forms = sorted(self._places, key=lambda form: (-len(form), form))
        self._start = re.compile(rf"[\W_]*?({_either(forms)}){_AFTER}")
        self._anywhere = [
            re.compile(f"{_BEFORE}({_either(list(same))}){_AFTER}") for _, same in groupby(forms, key=len)
        ]

    def place(self, text: str) -> int | None:
        """The place in `labels` of a text that is a label and nothing else; None where it is none."""
        return self._places.get(_form(text))

    def find(self, text: str) -> int | None:
        """The place in `labels` of the label that a text gives; None where it gives none."""
        form = _form(text)
        found = self._start.match(form)
        for pattern in self._anywhere:
            found = found or pattern.search(form)
        return self._places[found.group(1)] if found and self.labels else None


def _form(text: str) -> str:
    return " ".join(spaced(normalise(text)).split())


def _either(forms: Sequence[str]) -> str:
    return "|".join(map(re.escape, forms))
