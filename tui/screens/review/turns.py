"""An example's conversation: what stood before it, what was asked, and what both models answered."""

from typing import NamedTuple

from store.read.pairs import PairView
from store.read.rows import ResponseRow


class Turn(NamedTuple):
    """Something that was said to both models, or both models' answers where `asked` is None."""

    title: str
    asked: str | None
    left: str | None = None
    right: str | None = None


def turns_of(view: PairView) -> list[Turn]:
    """The conversation in order. A side that is None has no answer to that turn."""
    messages = view.example.messages or [{"role": "user", "content": view.example.query}]
    questions = [str(turn) for turn in (view.example.extra or {}).get("turns") or ()]
    left, right = _answers(view.baseline), _answers(view.candidate)
    found = [Turn(message.get("role", "user"), message.get("content", "")) for message in messages]
    for place in range(max(1, len(left), len(right), len(questions))):
        if place:
            asked = questions[place] if place < len(questions) else "– this turn was not recorded"
            found.append(Turn(f"user, turn {place + 1}", asked))
        title = f"answers, turn {place + 1}"
        found.append(Turn(title, None, _at(left, place), _at(right, place)))
    return found


def _answers(response: ResponseRow | None) -> list[str]:
    if response is None or response.text is None:
        return []
    return response.turns or [response.text]


def _at(answers: list[str], place: int) -> str | None:
    return answers[place] if place < len(answers) else None
