"""Perturbations of an example: the same thing asked in another form, whose right answer is known.

Definitions after CheckList's invariance tests (Ribeiro et al. 2020), HELM's robustness (Liang et al. 2022)
and PromptBench (Zhu et al. 2023); the lists of words are Assay's own. Seeded by the example's id and the
perturbation's name, so that a variant is the same in every process and whatever other examples there are.
"""

import hashlib
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from engine.data.example import Example, normalise

SAME = "it changes nothing here"
CONVERSATION = "a conversation of several turns"


@dataclass(frozen=True, slots=True)
class PerturbedExample:
    """An example in another form, with the id of the plain one.

    `letters` are the letters of choices that moved: the one in the plain form, and the one here.
    """

    perturbation: str
    example: Example
    letters: Mapping[str, str] = field(default_factory=dict)


def perturbed(example: Example, name: str, seed: int = 0, rate: float = 0.1) -> PerturbedExample | str:
    """The example under one of PERTURBATIONS, or why it has no such variant.

    `rate` is the share of words that "typos" and "lookalikes" touch. Never changed are code, addresses, JSON,
    placeholders, the lines of choices (but for their order), and the words and numbers that a reference,
    label, expected call, item or entity holds; where "names" swaps a name, the references' copies of it go
    along.
    """
    if len(example.turns) > 1:
        return CONVERSATION
    key = hashlib.blake2b(f"{seed}\0{example.id}\0{name}".encode("utf-8", "replace"), digest_size=8)
    change = _Change(example, random.Random(int.from_bytes(key.digest())), rate)
    found = PERTURBATIONS[name].of(change)
    if isinstance(found, str):
        return found
    if found.example.query == example.query:
        return SAME
    return replace(found, perturbation=name)


PARAPHRASE = "paraphrase"  # in other words, by a model that the plan names
REQUEST = (
    "Rewrite the question below in other words. Keep its meaning, and every name, number, code and "
    "instruction on the form of the answer. Reply with the rewritten question alone.\n\n"
)
_LONGER = 3  # times the question: a paraphrase that is longer answers it, or talks about it


def paraphrased(example: Example, text: str | None) -> PerturbedExample | str:
    """The example in the words that a model gave for its question, or why these cannot be used.

    Everything that no perturbation changes must stand in them, and every number.
    """
    if len(example.turns) > 1:
        return CONVERSATION
    said = (text or "").strip().strip('"“”').strip()
    if not said:
        return "the model gave no paraphrase"
    if normalise(said) == normalise(example.query):
        return SAME
    if len(said) > _LONGER * len(example.query) + 100:
        return "the paraphrase is far longer than the question"
    change = _Change(example, random.Random(0), 0.0)
    held = [stretch.strip() for free, stretch in change.stretches() if not free]
    if any(part not in said for part in (*held, *re.findall(r"\d+", example.query))):
        return "the paraphrase lost what must stay"
    return replace(change.asked(said), perturbation=PARAPHRASE)


@dataclass(frozen=True, slots=True)
class _Change:
    """One example that is about to be changed, and the chance that decides how."""

    example: Example
    chance: random.Random
    rate: float

    def edited(self, edit: Callable[[str], str]) -> PerturbedExample:
        """The example with an edit of each stretch of its question that may be changed."""
        return self.placed(lambda text, _: edit(text))

    def placed(self, edit: Callable[[str, int], str]) -> PerturbedExample:
        """`edited` by what is also told where each stretch begins."""
        parts, done = [], 0
        for free, text in self.stretches():
            parts.append(edit(text, done) if free else text)
            done += len(text)
        return self.asked("".join(parts))

    def asked(self, query: str, references: tuple[str, ...] | None = None) -> PerturbedExample:
        example = self.example
        messages = list(example.messages)
        for place in reversed(range(len(messages))):
            if messages[place].get("role") == "user" and messages[place].get("content") == example.query:
                messages[place] = messages[place] | {"content": query}
                break
        turns = (query,) if example.turns else ()
        made = replace(example, query=query, messages=tuple(messages), turns=turns)
        return PerturbedExample("", made if references is None else replace(made, references=references))

    def stretches(self) -> Iterator[tuple[bool, str]]:
        """The question in order: stretches that may be changed (True), and those between them."""
        query, done = self.example.query, 0
        for found in self._kept().finditer(query):
            if found.start() > done:
                yield True, query[done : found.start()]
            yield False, found.group()
            done = found.end()
        if done < len(query):
            yield True, query[done:]

    def _kept(self) -> re.Pattern[str]:
        return _kept((*self.example.references, *self.told_elsewhere()))

    def told_elsewhere(self) -> tuple[str, ...]:
        """What else than the references says which answer is right."""
        example = self.example
        found = [example.extra[name] for name in _ALSO_RIGHT if name in example.extra]
        found += [call.get("arguments", call.get("allowed")) for call in example.calls or ()]
        pattern = re.sub(r"\\.", " ", str(example.extra.get("regex", "")))
        return tuple(_texts_in([example.label or None, pattern or None, *found]))

    def right_words(self) -> list[str]:
        """The words of the question that a right answer holds."""
        told = (*self.example.references, *self.told_elsewhere())
        held = {word.casefold() for text in told for word in _WORD.findall(text[:_MOST])}
        return [word for word in _WORD.findall(self.example.query) if word.casefold() in held]

    def words(self) -> list[re.Match[str]]:
        """The words of the question that may be changed, each with its place in the question."""
        query, found, done = self.example.query, [], 0
        for free, text in self.stretches():
            if free:
                found += list(_LETTERS.finditer(query, done, done + len(text)))
            done += len(text)
        return found


_ALSO_RIGHT = ("entities", "items", "checks", "kwargs")  # of an example's `extra`


def _texts_in(value: Any) -> Iterator[str]:
    """The texts and numbers of a JSON value, without its keys."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts_in(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


_LETTERS = re.compile(r"[^\W\d_]{4,}")
_WORD = re.compile(r"\w+")
# Code, addresses, JSON and lists, placeholders and tags, names of a program's parts, the choices and what
# follows them. "Q:" begins a question.
_NEVER = r"""
    ```.*?(?:```|\Z) | ~~~.*?(?:~~~|\Z) | `[^`\n]+`
  | \b[a-z][a-z0-9+.-]{1,15}://\S+ | \bwww\.\S+ | [\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}
  | \{[^{}]*(?:\{[^{}]*\}[^{}]*)*\} | \[[^\[\]\n]*\] | <[^<>\n]{1,200}> | %\(?\w*\)?[sdf]\b | \$\w+
  | \b\w*_\w*\b | \b[a-z]+[A-Z]\w*\b | \b\w+\([^()\n]*\)
  | ^[ \t]*\(?(?!Q[.:])[A-Z0-9][).:][ \t].*$
"""


@lru_cache(maxsize=64)
def _kept(references: tuple[str, ...]) -> re.Pattern[str]:
    """What of a question is never changed, where these are the right answers."""
    words = {word for text in references for word in _WORD.findall(text[:_MOST])}
    told = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    held = rf"| (?<!\w)(?i:{told})(?!\w)" if told else ""
    return re.compile(rf"(?:{_NEVER}{held})", re.VERBOSE | re.DOTALL | re.MULTILINE)


_MOST = 2_000  # characters of a reference whose words are held
_KEYS = {
    "a": "sqw", "b": "vgn", "c": "xvd", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy", "i":
    "uok", "j": "hku", "k": "jli", "l": "kop", "m": "nj", "n": "bmh", "o": "ipl", "p": "ol", "q": "wa",
    "r": "etf", "s": "adw", "t": "ryg", "u": "yij", "v": "cbf", "w": "qes", "x": "zcs", "y": "tuh", "z":
    "xa",
}  # fmt: skip


def _some(change: _Change, edit: Callable[[str], str]) -> PerturbedExample | str:
    """Each of a share of the words with an edit; at least one of them."""
    words = change.words()
    if not words:
        return "no word may be changed"
    chosen = [word for word in words if change.chance.random() < change.rate] or [change.chance.choice(words)]
    query, parts, done = change.example.query, [], 0
    for word in chosen:
        parts += [query[done : word.start()], edit(word.group())]
        done = word.end()
    return change.asked("".join([*parts, query[done:]]))


def _typos(change: _Change) -> PerturbedExample | str:
    """A slip of the keyboard: two letters swapped, one left out, doubled, or its neighbour's key."""
    chance = change.chance

    def slip(word: str) -> str:
        place, kind = chance.randrange(1, len(word) - 1), chance.randrange(4)
        before, letter, after = word[:place], word[place], word[place + 1 :]
        if kind == 0 and after[0] != letter:
            return before + after[0] + letter + after[1:]
        if kind == 1:
            return before + letter * 2 + after
        if kind == 2 and letter in _KEYS:
            return before + chance.choice(_KEYS[letter]) + after
        return before + after

    return _some(change, slip)


_BEGINNING = re.compile(r"(?:\A|[.!?])\W*(?!\w+\s*(?:[,;/|]|or\b))")  # of a sentence, but not of a list


def _case(change: _Change) -> PerturbedExample | str:
    """Lower case, as people type in a hurry; capitals where it is in lower case already.

    A right answer that alone kept its case among "Paris, London or Rome" would be pointed at: where it has
    capitals, those within sentences stay.
    """
    query, right = change.example.query, change.right_words()
    are_names = any(word != word.lower() for word in right)
    beginnings = {found.end() for found in _BEGINNING.finditer(query)}

    def lowered(text: str, place: int) -> str:
        def said(found: re.Match[str]) -> str:
            return found[0].lower() if place + found.start() in beginnings else found[0]

        return _WORD.sub(said, text) if are_names else text.lower()

    lower = change.placed(lowered)
    if lower.example.query != query:
        return lower
    return "capitals would point at the right answer" if right else change.edited(str.upper)


def _spacing(change: _Change) -> PerturbedExample:
    """One to three spaces where there is one, as in HELM."""
    spaces = re.compile(r"(?<=\S) (?=\S)")
    return change.edited(lambda text: spaces.sub(lambda _: " " * change.chance.randint(1, 3), text))


def _punctuation(change: _Change) -> PerturbedExample:
    """Without the marks that end sentences; with a full stop where there is no mark."""
    query = change.example.query

    def unmarked(text: str, place: int) -> str:
        # A mark at the end of a stretch may be inside a word or number, of which the rest is kept.
        end = place + len(text)
        after = query[end : end + 1]
        return re.sub(r"[.!?]+(?=\s)" if after.strip() else r"[.!?]+(?=\s|\Z)", "", text)

    ends = change.placed(unmarked)
    if ends.example.query != query or query.rstrip()[-1:] in ".!?":
        return ends
    return change.asked(f"{query.rstrip()}." if query.rstrip()[-1:].isalnum() else query)


_CONTRACTIONS = {
    "are not": "aren't", "could not": "couldn't", "did not": "didn't", "do not": "don't",
    "does not": "doesn't", "had not": "hadn't", "has not": "hasn't", "have not": "haven't", "is not": "isn't",
    "should not": "shouldn't", "was not": "wasn't", "were not": "weren't", "would not": "wouldn't",
    "will not": "won't", "cannot": "can't", "i am": "I'm", "i have": "I've", "i will": "I'll",
    "you are": "you're", "you have": "you've", "you will": "you'll", "we are": "we're", "we have": "we've",
    "we will": "we'll", "they are": "they're", "they have": "they've", "they will": "they'll",
    "it is": "it's", "that is": "that's", "there is": "there's", "what is": "what's", "where is": "where's",
    "who is": "who's", "how is": "how's", "let us": "let's",
}  # fmt: skip
# "it's" may also be "it has".
_EXPANDED = {short.lower(): full for full, short in _CONTRACTIONS.items()}
_LONG = re.compile(rf"\b(?:{'|'.join(_CONTRACTIONS)})\b(?=\s+\w)", re.IGNORECASE)
_SHORT = re.compile(rf"\b(?:{'|'.join(_EXPANDED)})\b(?!\s+(?:been|got|had)\b)", re.IGNORECASE)


def _like(model: str, word: str) -> str:
    """The word with a capital where the model has one."""
    if model[:1].isupper():
        return word[:1].upper() + word[1:]
    return word


def _contractions(change: _Change) -> PerturbedExample:
    """Contractions written out; where there are none, contracted."""

    def written_out(text: str) -> str:
        return _SHORT.sub(lambda found: _like(found[0], _whole(found[0])), text.replace("’", "'"))

    out = change.edited(written_out)
    if out.example.query != change.edited(lambda text: text.replace("’", "'")).example.query:
        return out

    def contracted(found: re.Match[str]) -> str:
        return _like(found[0], _CONTRACTIONS[found[0].lower()])

    return change.edited(lambda text: _LONG.sub(contracted, text))


def _whole(short: str) -> str:
    full = _EXPANDED[short.lower()]
    return f"I{full[1:]}" if full.startswith("i ") else full


_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# Whole numbers up to 999 that stand alone: no year, amount, date, time, decimal, or number of an order.
_NUMBER = re.compile(r"(?<![\w#$€£%.,:/+*=^()'’-])(?<![#$€£] )(0|[1-9]\d{0,2})(?![\w%°]|[.,:/+*=^()'’-]\S)")
_ENGLISH = re.compile(
    r"\b(?:the|is|are|of|and|what|how|which|who|when|where|does|this|that|with|for|please|your?|my|from|to)\b",
    re.IGNORECASE,
)


def spelled(number: int) -> str:
    """A whole number from 0 to 999 in English words."""
    if number < 20:
        return _UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_UNITS[units]}" if units else "")
    hundreds, rest = divmod(number, 100)
    return f"{_UNITS[hundreds]} hundred" + (f" and {spelled(rest)}" if rest else "")


def _numbers(change: _Change) -> PerturbedExample | str:
    """Whole numbers as words; none that a reference holds."""
    if not _is_english(change.example):
        return "not in English"
    query, kept = change.example.query, change._kept()
    held = [found.span() for found in kept.finditer(query)]

    def said(found: re.Match[str]) -> str:
        if any(start < found.end() and found.start() < end for start, end in held):
            return found[0]
        return spelled(int(found[0]))

    return change.asked(_NUMBER.sub(said, query))


def _is_english(example: Example) -> bool:
    language = example.extra.get("language")
    if isinstance(language, str):
        return language.lower().startswith("en")
    return _ENGLISH.search(example.query) is not None


# Letters that look like Latin ones, of Unicode's confusables (UTS 39).
_LOOKALIKES = str.maketrans("aceiopxyABCEHIKMOPTX", "асеіорхуАВСЕНІКМОРТХ")


def _lookalikes(change: _Change) -> PerturbedExample | str:
    """Cyrillic letters that look like Latin ones, as in texts that were copied or disguised."""
    return _some(change, lambda word: word.translate(_LOOKALIKES))


_POLITE = re.compile(
    r"\b(?:please|kindly|thank(?:s| you)|hello|hi|dear|would you|could you)\b", re.IGNORECASE
)
_PHRASES = (
    "Hello! ", "Please answer this: ", "Could you please help me with this? ",
    "I would be grateful for your help. ", "Hi, I have a question. ",
)  # fmt: skip


def _politeness(change: _Change) -> PerturbedExample | str:
    """A polite beginning; none where there is one."""
    query = change.example.query
    if not _is_english(change.example):
        return "not in English"
    if _POLITE.search(query):
        return "it is polite already"
    return change.asked(change.chance.choice(_PHRASES) + query)


_CHOICE = re.compile(r"^([ \t]*\(?)([A-Z])([).:][ \t]+)(\S.*?)[ \t]*$", re.MULTILINE)
_LETTER = re.compile(r"(\(?)([A-Z])(?![\w'’])(.*)", re.DOTALL)
# A choice that is about the others, or about their places.
_PLACED = re.compile(
    r"\b(?:above|below|previous|following|both [A-Z]|all of|none of|neither|[A-Z] and [A-Z])\b"
)


def _choices(change: _Change) -> PerturbedExample | str:
    """The choices in another order, so that the right one has another letter; the references go along."""
    example = change.example
    lines = list(_CHOICE.finditer(example.query))
    letters = [line[2] for line in lines]
    if len(lines) < 2 or letters != [chr(ord("A") + place) for place in range(len(lines))]:
        return "no lettered choices"
    texts = [line[4] for line in lines]
    if any(_PLACED.search(text) for text in texts) or "bbq" in example.extra:
        return "a choice depends on the order"
    shift = change.chance.randrange(1, len(texts))
    moved = {old: letters[(place + shift) % len(texts)] for place, old in enumerate(letters)}
    by_letter = {moved[letter]: text for letter, text in zip(letters, texts, strict=True)}
    query = _CHOICE.sub(
        lambda line: f"{line[1]}{line[2]}{line[3]}{by_letter[line[2]]}" if line[2] in by_letter else line[0],
        example.query,
    )
    said = {_bare(text) for text in texts}
    references = tuple(_relettered(text, moved, said) for text in example.references)
    for before, after in zip(example.references, references, strict=True):
        if before == after and _bare(before) not in said:
            return "a reference names none of the choices"
    label = None if example.label is None else _relettered(example.label, moved, said)
    others = [text for text in change.told_elsewhere() if text != example.label]
    if label is not None and label == example.label and _bare(label) not in said:
        others.append(label.upper())  # "b" would name another choice
    if any(word in moved for text in others for word in _WORD.findall(text)):
        return "a letter of the right answer cannot go along"
    made = change.asked(query, references)
    return replace(made, example=replace(made.example, label=label), letters=moved)


def _bare(text: str) -> str:
    return normalise(text).strip(" ).:(")


def _relettered(reference: str, moved: Mapping[str, str], said: Collection[str]) -> str:
    """A reference that is a letter, or begins with one before a choice's text, with the letter it has now."""
    found = _LETTER.fullmatch(reference.strip())
    rest = _bare(found[3]) if found else ""
    if found is None or found[2] not in moved or (rest and rest not in said):
        return reference
    return f"{found[1]}{moved[found[2]]}{found[3]}"


_SPELLING = (
    "color:colour", "colors:colours", "favorite:favourite", "honor:honour", "labor:labour",
    "neighbor:neighbour", "neighbors:neighbours", "flavor:flavour", "behavior:behaviour", "humor:humour",
    "rumor:rumour", "harbor:harbour", "center:centre", "theater:theatre", "liter:litre", "liters:litres",
    "fiber:fibre", "defense:defence", "offense:offence", "license plate:number plate",
    "organize:organise", "organization:organisation", "realize:realise", "recognize:recognise",
    "apologize:apologise", "analyze:analyse", "summarize:summarise", "emphasize:emphasise",
    "traveling:travelling", "traveler:traveller", "canceled:cancelled", "canceling:cancelling",
    "modeling:modelling", "labeled:labelled", "jewelry:jewellery", "gray:grey", "mom:mum", "math:maths",
    "aluminum:aluminium", "catalog:catalogue", "skeptical:sceptical", "enrollment:enrolment",
    "fulfill:fulfil", "skillful:skilful", "pajamas:pyjamas", "mustache:moustache", "airplane:aeroplane",
    "apartment:flat", "elevator:lift", "sidewalk:pavement", "gasoline:petrol", "truck:lorry",
    "trucks:lorries", "cell phone:mobile phone", "zip code:postcode", "soccer:football", "candy:sweets",
    "diaper:nappy", "flashlight:torch", "faucet:tap", "garbage:rubbish", "movie:film", "movies:films",
    "fall semester:autumn term", "parking lot:car park", "toward:towards", "eggplant:aubergine",
    "zucchini:courgette",
)  # fmt: skip
_BRITISH = dict(pair.split(":") for pair in _SPELLING)
# A British word may mean another thing in American English ("flat", "lift"): those are swapped one way alone.
_AMERICAN = {
    british: american
    for american, british in _BRITISH.items()
    if british not in {"flat", "lift", "football", "tap", "sweets", "film", "films", "torch", "pavement"}
}  # fmt: skip


def _any_of(words: Mapping[str, str]) -> re.Pattern[str]:
    told = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"\b(?:{told})\b", re.IGNORECASE)


_IS_BRITISH, _IS_AMERICAN = _any_of(_AMERICAN), _any_of(_BRITISH)


def _dialect(change: _Change) -> PerturbedExample:
    """British spellings and words for American ones; American for British where there are only those."""

    def swapped(text: str, pattern: re.Pattern[str], words: Mapping[str, str]) -> str:
        return pattern.sub(lambda found: _like(found[0], words[found[0].lower()]), text)

    british = change.edited(lambda text: swapped(text, _IS_AMERICAN, _BRITISH))
    if british.example.query != change.example.query:
        return british
    return change.edited(lambda text: swapped(text, _IS_BRITISH, _AMERICAN))


# First names that are common in one place each, of women and of men.
_NAMES = {
    "women": (
        "Emma", "Olivia", "Emily", "Sarah", "Jessica", "Laura", "Anna", "Lena", "Marie", "Clara", "Rosa",
        "Elena", "Sofia", "Carmen", "Lucia", "Maria", "Fatima", "Aisha", "Layla", "Zahra", "Nadia",
        "Amina", "Priya", "Ananya", "Lakshmi", "Divya", "Mei", "Yuki", "Sakura", "Hana", "Ngozi",
        "Chioma", "Amara", "Zainab", "Latoya", "Keisha", "Tanisha", "Olga", "Irina", "Svetlana",
        "Natasha", "Ingrid", "Astrid", "Mary", "Susan", "Linda", "Karen", "Nancy", "Alice", "Ruth",
    ),
    "men": (
        "James", "John", "Michael", "David", "Thomas", "Daniel", "Peter", "Paul", "Lukas", "Felix",
        "Jonas", "Carlos", "Diego", "Javier", "Miguel", "Jose", "Mohammed", "Ahmed", "Omar", "Hassan",
        "Yusuf", "Ali", "Raj", "Arjun", "Rahul", "Vikram", "Wei", "Hiroshi", "Kenji", "Takeshi", "Chidi",
        "Emeka", "Kwame", "Tyrone", "Jamal", "DeShawn", "Malik", "Ivan", "Dmitri", "Sergei", "Igor",
        "Lars", "Sven", "Bjorn", "Erik", "Robert", "William", "Tom", "Ben", "Leo",
    ),
}  # fmt: skip
_KIND_OF_NAME = {name: kind for kind, names in _NAMES.items() for name in names}
_NAME = re.compile(rf"\b(?:{'|'.join(_KIND_OF_NAME)})\b")
_WELL_KNOWN = re.compile(
    rf"(?:\b[A-Z][\w.]* +|-)(?:{_NAME.pattern})|(?:{_NAME.pattern})(?:-| +(?:[A-Z]|of\b|the\b))"
)


def _names(change: _Change) -> PerturbedExample | str:
    """Each first name with another of the same gender, in the question and in its references alike."""
    example = change.example
    others = [message.get("content") for message in example.messages[:-1]]
    found = list(dict.fromkeys(_NAME.findall(example.query)))
    if not found:
        return "no name of the list"
    if _WELL_KNOWN.search(example.query):
        return "a name may be that of a known person"
    if any(isinstance(text, str) and _NAME.search(text) for text in others):
        return "earlier turns hold names"
    held = [_NAME.sub("", text) for text in example.references]  # there in another form
    held += [*change.told_elsewhere(), *example.tests]
    words = {word for text in held for word in _WORD.findall(text.casefold())}
    if any(name.casefold() in words for name in found):
        return "a name of the right answer cannot go along"
    named = [name for text in example.references for name in _NAME.findall(text)]
    swapped: dict[str, str] = {}
    for name in found:
        taken = {*found, *named, *swapped.values()}
        free = [other for other in _NAMES[_KIND_OF_NAME[name]] if other not in taken]
        swapped[name] = change.chance.choice(free) if free else name

    def said(text: str) -> str:
        return _NAME.sub(lambda match: swapped.get(match[0], match[0]), text)

    return change.asked(said(example.query), tuple(said(text) for text in example.references))


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to ask the same; `said` is what an answer is then robust to."""

    said: str
    of: Callable[[_Change], PerturbedExample | str]


PERTURBATIONS: Mapping[str, Perturbation] = {
    "typos": Perturbation("typos", _typos),
    "case": Perturbation("letter case", _case),
    "spacing": Perturbation("spacing", _spacing),
    "punctuation": Perturbation("punctuation", _punctuation),
    "contractions": Perturbation("contractions", _contractions),
    "numbers": Perturbation("numbers as words", _numbers),
    "lookalikes": Perturbation("look-alike letters", _lookalikes),
    "politeness": Perturbation("politeness", _politeness),
    "choices": Perturbation("the order of choices", _choices),
    "dialect": Perturbation("British and American English", _dialect),
    "names": Perturbation("other names", _names),
}
"""By the name that a plan gives it."""
VERSION = "1"  # of the rules and lists above: other ones make other variants
