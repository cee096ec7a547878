"""Review: two answers side by side, and a person's own judgement of them, one key a decision."""

from dataclasses import replace
from getpass import getuser

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize

from store.history import Connection
from tui.keys import bindings
from tui.screens.base import RunScreen
from tui.screens.review_answers import Answers
from tui.screens.review_data import QUEUES, Review, Wanted, decide, read_pair, read_review, take_back
from tui.screens.review_lines import DECISIONS, details, excerpt, metrics_line, position, verdict_line
from tui.widgets.lines import Line, Pane

ROOMY = 34  # lines of terminal from which on the details stand below the answers
TAGS_OFFERED = 5


class ReviewScreen(RunScreen):
    """A queue through a run's examples for one candidate (right) and one baseline (left)."""

    NAME = "Review"
    AUTO_FOCUS = ""
    FOOTER = (
        "review.left", "review.right", "review.tie", "review.both_bad", "review.next", "review.undo",
        "review.queue", "review.worst", "review.details", "review.note", "review.flag", "find.filter",
    )  # fmt: skip
    BINDINGS = bindings(
        "review.next", "review.previous", "review.first", "review.last", "review.left", "review.right",
        "review.tie", "review.both_bad", "review.undo", "review.note", "review.flag", "review.worst",
        "review.in_order", "review.queue", "review.details", "review.details_down", "review.details_up",
        "review.scroll_down", "review.scroll_up", "review.page_down", "review.page_up", "find.filter",
        "compare.candidate", "compare.candidate_back", "compare.baseline", "compare.baseline_back",
    )  # fmt: skip
    DEFAULT_CSS = """
    ReviewScreen #position { background: $panel; padding: 0 1; }
    ReviewScreen #question, ReviewScreen #facts { height: auto; padding: 0 1; }
    ReviewScreen #answers { padding: 0 1; }
    ReviewScreen #details { height: 2fr; padding: 0 1; border-top: solid $rule; }
    ReviewScreen #answers { height: 3fr; border-top: solid $rule; }
    """
