"""The general skills: arithmetic, copying, sorting, and facts about an invented world.

Every question belongs to one of two worlds that never meet: `held_out=True` draws what only evaluation
sees, `held_out=False` what only training sees. For arithmetic and facts one phrasing of each question is
held out (the sum itself is learned from its other phrasings); for lists it is the combination of items.
"""

from dataclasses import dataclass
from random import Random


def words(text: str) -> tuple[str, ...]:
    """The words of `text`, in order."""
    return tuple(text.split())


SKILLS = ("arithmetic", "copying", "sorting", "facts")

WORDS = words(
    """
    apple anchor basket bridge candle castle copper desert dragon engine feather forest garden glass
    hammer harbour island jacket jungle ladder lantern lemon marble meadow mirror needle ocean orange
    paper pepper pillow planet pocket rabbit ribbon river rocket saddle shadow silver spider stone
    summer temple thunder ticket timber tunnel valley velvet violin wagon walnut whale willow window
    winter wizard yellow zebra
    """
)

TOWNS = words(
    """
    Vondar Kelmi Tarsu Ombrel Quesk Lirra Dovan Hestia Norwick Palune Sarnia Ulmeth Brask Cindel Ferro
    Galtha Ivory Jomba Mirel Orsk Ruvane Tolm Wexan Zharra
    """
)

_COLOURS = words("red green blue white black purple")
_RIVERS = words("Aline Borro Cesk Dunna Elber Fyra Goss Harl")
_GOODS = words("salt wool honey silk iron amber wine tea")
_ANIMALS = words("fox bear eagle wolf swan stag otter crane")

FACT_VALUES = {"flag": _COLOURS, "river": _RIVERS, "trade": _GOODS, "animal": _ANIMALS}

_FACT_PHRASINGS = {
    "flag": (
        "What colour is the flag of {town}?",
        "Which colour has the flag of {town}?",
        "Name the flag colour of {town}.",
        "The flag of {town} is of which colour?",
    ),
    "river": (
        "Which river flows through {town}?",
        "What is the river of {town}?",
        "Name the river of {town}.",
        "On which river does {town} stand?",
    ),
    "trade": (
        "What does {town} sell?",
        "What is {town} known to trade?",
        "Name the main good of {town}.",
        "Which good comes from {town}?",
    ),
    "animal": (
        "Which animal is the emblem of {town}?",
        "What is the animal of {town}?",
        "Name the emblem animal of {town}.",
        "The emblem of {town} shows which animal?",
    ),
}

_SUM_PHRASINGS = {
    "plus": (
        "What is {a} plus {b}?",
        "Add {a} and {b}.",
        "How much is {a} plus {b}?",
        "Give the sum of {a} and {b}.",
    ),
    "minus": (
        "What is {a} minus {b}?",
        "Subtract {b} from {a}.",
        "How much is {a} minus {b}?",
        "Take {b} away from {a}.",
    ),
}

_COPY_PHRASINGS = ("Repeat these words: {items}", "Copy this list: {items}", "Say the same words: {items}")
_SORT_WORDS = ("Sort these words: {items}", "Put these words in order: {items}")
_SORT_NUMBERS = ("Sort these numbers: {items}", "Put these numbers in order: {items}")

_WORLD_SEED = 20
_HELD_OUT_LISTS = 10
"""One list in ten is held out: those whose item positions sum to a multiple of ten."""


@dataclass(frozen=True)
class Question:
    """One question of a general skill with its only right answer."""

    skill: str
    query: str
    answer: str


def world_facts() -> dict[tuple[str, str], str]:
    """The invented world: (town, attribute) → value; the same on every call."""
    rng = Random(_WORLD_SEED)
    return {(town, kind): rng.choice(values) for town in TOWNS for kind, values in FACT_VALUES.items()}


FACTS = world_facts()


def draw(rng: Random, skill: str, held_out: bool) -> Question:
    """One random question of `skill` from the evaluation world (`held_out`) or the training world."""
    return _DRAW[skill](rng, held_out)


def distinct(rng: Random, skill: str, count: int) -> list[Question]:
    """`count` different held-out questions of `skill`."""
    questions: dict[str, Question] = {}
    while len(questions) < count:
        question = draw(rng, skill, held_out=True)
        questions.setdefault(question.query, question)
    return list(questions.values())


def _phrasing(rng: Random, phrasings: tuple[str, ...], reserved: int, held_out: bool) -> str:
    if held_out:
        return phrasings[reserved]
    return rng.choice([text for at, text in enumerate(phrasings) if at != reserved])


def _arithmetic(rng: Random, held_out: bool) -> Question:
    operation = rng.choice(("plus", "minus"))
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    if operation == "minus":
        a, b = max(a, b), min(a, b)
    phrasing = _phrasing(rng, _SUM_PHRASINGS[operation], (3 * a + b) % 4, held_out)
    return Question("arithmetic", phrasing.format(a=a, b=b), str(a + b if operation == "plus" else a - b))


def _facts(rng: Random, held_out: bool) -> Question:
    town, kind = rng.randrange(len(TOWNS)), rng.randrange(len(_FACT_PHRASINGS))
    name = list(_FACT_PHRASINGS)[kind]
    phrasing = _phrasing(rng, _FACT_PHRASINGS[name], (town + kind) % 4, held_out)
    return Question("facts", phrasing.format(town=TOWNS[town]), FACTS[TOWNS[town], name])


def _draw_list(rng: Random, size: int, population: int, held_out: bool) -> list[int]:
    while True:
        items = rng.sample(range(population), size)
        if (sum(items) % _HELD_OUT_LISTS == 0) == held_out:
            return items


def _copying(rng: Random, held_out: bool) -> Question:
    items = _draw_list(rng, rng.randint(3, 6), len(WORDS), held_out)
    text = " ".join(WORDS[item] for item in items)
    return Question("copying", rng.choice(_COPY_PHRASINGS).format(items=text), text)


def _sorting(rng: Random, held_out: bool) -> Question:
    if rng.random() < 0.5:
        items = _draw_list(rng, rng.randint(3, 4), len(WORDS), held_out)
        shown, ordered = [WORDS[item] for item in items], sorted(WORDS[item] for item in items)
        phrasing = rng.choice(_SORT_WORDS)
    else:
        items = _draw_list(rng, rng.randint(3, 5), 100, held_out)
        shown, ordered = [str(item) for item in items], [str(item) for item in sorted(items)]
        phrasing = rng.choice(_SORT_NUMBERS)
    return Question("sorting", phrasing.format(items=" ".join(shown)), " ".join(ordered))


_DRAW = {"arithmetic": _arithmetic, "copying": _copying, "sorting": _sorting, "facts": _facts}
