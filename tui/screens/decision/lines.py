"""How the Decision screen writes its lines."""

from textual.content import Content

from engine.decision.decision import Answer, Verdict
from tui.text.gate import fit, join, one_line, plain, wrap

WORDS = {
    "ship": ("+ ship", "bold $good"),
    "don't ship": ("− don't ship", "bold $bad"),
    "not settled": ("? not settled", "bold $warn"),
}
STANDINGS = {
    "good": ("+", "$good"),
    "bad": ("−", "$bad"),
    "open": ("?", "$warn"),
    "missing": ("·", "$muted"),
}
WORD = 13  # cells
LEAST_NAME = 10  # cells at least
QUESTION = 29


def word(verdict: Verdict) -> Content:
    return Content.styled(*WORDS[verdict.word])


def name_width(verdicts: list[Verdict], width: int) -> int:
    """As wide as the longest name, up to a quarter of the line."""
    longest = max((plain(verdict.candidate).cell_length for verdict in verdicts), default=0)
    return max(LEAST_NAME, min(longest, width // 4))


def head(verdict: Verdict, names: int, width: int) -> Content:
    """A candidate's line: name, word, the weightiest reason."""
    why = one_line(verdict.reasons[0]) if verdict.reasons else Content("")
    cells = [fit(verdict.candidate, names), fit(word(verdict), WORD)]
    return join([*cells, fit(why, max(0, width - names - WORD - 4))], "  ")


def question(answer: Answer, width: int) -> Content:
    """A question's line: how it stands, the question, the answer as far as it fits."""
    sign, style = STANDINGS[answer.standing]
    muted = "$muted" if answer.standing == "missing" else ""
    said = fit(one_line(answer.answer, muted), max(0, width - QUESTION - 4))
    return join([Content.styled(sign, style), " ", fit(answer.question, QUESTION), "  ", said])


def reasons(verdict: Verdict, width: int) -> list[Content]:
    """The reasons, numbered, the first in bold; none is cut."""
    lines = []
    for place, reason in enumerate(verdict.reasons, 1):
        style = "bold" if place == 1 else ""
        first, *more = wrap(one_line(reason, style), width - 2)
        lines += [
            join([Content.styled(f"{place} ", "$muted"), first]),
            *(Content("  ") + line for line in more),
        ]
    return lines


def evidence(answer: Answer, width: int) -> list[Content]:
    """The whole answer and the numbers behind it."""
    sign, style = STANDINGS[answer.standing]
    first, *more = wrap(plain(answer.answer, "bold"), width - 2)
    lines = [join([Content.styled(f"{sign} ", style), first]), *(Content("  ") + line for line in more)]
    for said in answer.evidence:
        lines += [Content("  ") + line for line in wrap(one_line(said), width - 2)]
    return lines
