"""The decision on a run's candidates in a terminal: the word and its reasons, or the whole page."""

from collections.abc import Sequence

from engine.decision.decision import Answer, Verdict
from tui.text.gate import printable
from tui.text.output import heading, out, paragraph, strong

SIGNS = {"ship": "+", "don't ship": "-", "not settled": "?"}
STANDINGS = {"good": "+", "bad": "-", "open": "?", "missing": "·"}
LEGEND = "+ good · - bad · ? not settled · · not known"


def print_decision(verdicts: Sequence[Verdict], *, full: bool = False) -> None:
    """Word and reasons of every candidate; `full` adds every question with the numbers behind its answer."""
    if not verdicts:
        out("there is no candidate to decide on")
        return
    heading("Decision")
    for verdict in verdicts:
        word = verdict.word.upper() if verdict.word == "don't ship" else verdict.word
        out(strong(printable(f"{SIGNS[verdict.word]} {verdict.candidate}: {word}")))
        for reason in verdict.reasons:
            paragraph(reason, "      ", "    - ")
        if full:
            for answer in verdict.answers:
                _answer(answer)
    if full:
        paragraph(LEGEND)


def _answer(answer: Answer) -> None:
    paragraph(f"{answer.question} {answer.answer}", "      ", f"  {STANDINGS[answer.standing]} ")
    for line in answer.evidence:
        paragraph(line, "          ", "        ")
