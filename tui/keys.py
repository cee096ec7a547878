"""Every key of the app in one place: what it does, its label in the footer, its line in the help.

A screen lists the ids it answers to (`BINDINGS = bindings("move.down", …)`); footer and help are drawn from
the bindings that are alive, so neither can say something else than what the keys do.
"""

from typing import NamedTuple

from textual.binding import Binding, BindingType


class Action(NamedTuple):
    keys: str  # comma-separated, Textual's names
    action: str
    label: str  # one word for the footer; "" keeps it out of there
    help: str
    shown: str = ""  # how the keys are written for people, where Textual's names are no good
    also: str = ""  # other words that it is found by


_EVERYWHERE = {
    "go.runs": Action("R", "go('runs')", "", "Runs: the history", also="home list"),
    "go.decision": Action("H", "go('decision')", "", "Decision: ship or not, and why", also="verdict gates"),
    "go.live": Action("L", "go('live')", "", "Live: progress of this run", also="watch status"),
    "go.compare": Action("C", "go('compare')", "", "Compare: models by metrics, deltas, benchmarks"),
    "go.review": Action(
        "V", "go('review')", "", "Review: answers side by side", also="examples annotate label diff"
    ),
    "go.splits": Action(
        "S",
        "go('splits')",
        "",
        "Splits: eval and training data, leaks",
        also="contamination overlap coverage",
    ),
    "go.judges": Action("J", "go('judges')", "", "Judges: their verdicts, and how far to trust them"),
    "go.agreement": Action("K", "go('agreement')", "", "Agreement: judges with people; corrected win rates"),
    "go.failures": Action(
        "E",
        "go('failures')",
        "",
        "Failure log: which failures persist across runs",
        also="tags export eval set",
    ),
    "go.trends": Action("T", "go('trends')", "", "Trends: one measure across runs"),
    "go.map": Action(
        "Z",
        "go('map')",
        "map",
        "Map: gain against forgetting of the candidates",
        also="sweep scatter pareto front trade-off checkpoints",
    ),
    "go.monitor": Action(
        "M",
        "go('monitor')",
        "",
        "Monitor: production traffic over time, with its alerts",
        also="production drift weeks thumbs feedback",
    ),
    "go.alerts": Action("A", "go('alerts')", "", "Alerts: which checks failed, with the evidence"),
    "app.jump": Action("ctrl+o", "jump", "", "All screens with their keys: go to one", "^o"),
    "app.copy": Action("y", "copy", "", "Copy what is under the cursor to the clipboard and a file"),
    "app.mouse": Action("f3", "mouse", "", "Mouse reporting on or off; off: select with the terminal"),
    "app.theme": Action("f2", "theme", "", "Next theme: dark, light, the terminal's own, yours"),
    "app.redraw": Action("ctrl+l", "redraw", "", "Draw the whole screen again", "^l"),
    "app.suspend": Action("ctrl+z", "suspend_process", "", "Suspend to the shell; `fg` resumes", "^z"),
    "app.proposals": Action(
        "f4",
        "proposals",
        "",
        "Proposals: what production teaches the eval set",
        also="traffic feedback corrections thumbs accept",
    ),
    "app.help": Action(
        "question_mark,colon,ctrl+p",
        "help",
        "help",
        "Everything that can be done here: type to find it, enter does it",
        "?",
        "palette commands menu keys",
    ),
    "app.back": Action("escape", "back", "", "Back; closes an input; never quits", "esc"),
    "app.quit": Action("q,ctrl+c", "quit", "quit", "Quit; runs continue without the app"),
}

_MOVING = {
    "move.down": Action("j,down", "down", "", "Down", "j ↓"),
    "move.up": Action("k,up", "up", "", "Up", "k ↑"),
    "move.top": Action("g,home", "top", "", "To the top"),
    "move.bottom": Action("G,end", "bottom", "", "To the bottom"),
    "move.page_down": Action("ctrl+d,pagedown", "page_down", "", "Half a screen down", "^d"),
    "move.page_up": Action("ctrl+u,pageup", "page_up", "", "Half a screen up", "^u"),
    "move.open": Action("enter", "open", "open", "Open"),
    "move.pane": Action("tab", "focus_next", "", "Next pane"),
    "move.pane_back": Action("shift+tab", "focus_previous", "", "Previous pane"),
    "find.filter": Action(
        "slash", "filter", "filter", "Filter: show only what contains a text", "/", "search find"
    ),
    "find.next": Action("n", "next", "", "Next"),
    "find.previous": Action("N", "previous", "", "Previous"),
}

_TABLE = {
    "table.sort": Action(
        "o", "sort", "", "Sort by the next column; after the last: in their own order", also="order"
    ),
    "table.backwards": Action("O", "backwards", "", "Sort the other way round", also="order reverse"),
}

_SHARING = {
    "share.report": Action(
        "W", "report", "", "Write a report: HTML, Markdown, JSON or JUnit", also="save file html"
    ),
    "share.accept": Action(
        "Y", "accept", "", "Accept this candidate as the reference of later runs", also="release baseline"
    ),
    "share.export": Action("X", "export", "", "Export this run as JSON lines", also="save file parquet"),
    "share.import": Action(
        "I", "import", "", "Import a run or labels from other tools", also="load lm-eval inspect"
    ),
    "share.rerun": Action(
        "ctrl+r", "rerun", "", "Repeat this run with the same plan and files", "^r", "again reproduce"
    ),
}

_MENU = {
    "menu.down": Action("down,ctrl+n", "screen.move(1)", "", "Next offer", "↓"),
    "menu.up": Action("up", "screen.move(-1)", "", "Offer before", "↑"),
    "menu.right": Action("right", "screen.across(1)", "", "Next column", "→"),
    "menu.left": Action("left", "screen.across(-1)", "", "Column before", "←"),
    "menu.page_down": Action("pagedown,ctrl+d", "screen.page(1)", "", "Half a screen down", "^d"),
    "menu.page_up": Action("pageup,ctrl+u", "screen.page(-1)", "", "Half a screen up", "^u"),
}

_RUNS = {
    "runs.start": Action("s", "start", "start", "Start a run from a plan", also="new launch"),
    "runs.resume": Action("r", "resume", "resume", "Resume this run where it stopped", also="continue"),
    "runs.pause": Action("p", "pause", "pause", "Pause this run after its current batch"),
    "runs.cancel": Action(
        "x", "cancel", "cancel", "Cancel this run; finished work is kept", also="stop abort kill"
    ),
    "runs.trend": Action("t", "trend", "trend", "Next measures in the trend"),
    "runs.tag": Action("a", "tag", "tag", "Edit this run's tags"),
    "runs.note": Action("n", "note", "note", "Write a note on this run"),
    "runs.delete": Action("d", "delete", "delete", "Delete this run; undo with u, even in a later session"),
    "runs.mark": Action(
        "space", "mark", "mark", "Mark this run; with two marked, C compares them", also="select compare runs"
    ),
    "runs.undo": Action("u", "undo", "undo", "Undo the latest deletion here, else this run's latest tag"),
}

_STARTING = {
    "start.make": Action("w", "make", "new plan", "Make a plan from the models and data in this folder"),
    "start.path": Action("p", "path", "path", "Enter the path of a plan"),
    "check.start": Action("enter", "start", "start", "Start the run, or as soon as the check has passed"),
    "check.again": Action("r", "again", "check again", "Check the plan again"),
    "check.prompts": Action("P", "prompts", "prompts", "The first prompt of each model; again: the findings"),
    "plan.toggle": Action("space", "turn", "in or out", "Include this part in the plan, or leave it out"),
    "plan.rename": Action("e", "rename", "rename", "Rename this model"),
    "plan.write": Action("w", "write", "write", "Write the plan to a file, and check it"),
}

_TRENDS = {
    "trends.next": Action("n,right_square_bracket", "measure(1)", "next measure", "Next measure", "n ]"),
    "trends.previous": Action("p,left_square_bracket", "measure(-1)", "previous", "Previous measure", "p ["),
    "trends.choose": Action(
        "slash", "choose", "choose", "Choose a measure by name, or runs by tag:…", "/", "search filter"
    ),
    "trends.steps": Action(
        "s", "steps", "steps", "This run's checkpoints by training step, or all runs", also="curve follow"
    ),
}

_LIVE = {
    "live.answers": Action(
        "a",
        "answers",
        "answers",
        "Show or hide the latest answer of each model",
        also="output text",
    ),
    "live.events": Action("e", "events", "events", "Events: errors, fallbacks, resumes"),
    "live.failures": Action(
        "f,enter", "failures", "failures", "Failed calls and missing answers, in full", "f"
    ),
    "live.concurrency": Action(
        "c", "concurrency", "concurrency", "Max parallel requests per server, from now on"
    ),
    "live.after_phase": Action("P", "after_phase", "after phase", "Pause this run after its current phase"),
    "live.next": Action("right_square_bracket", "other(1)", "next run", "Next run in progress", "]"),
    "live.previous": Action("left_square_bracket", "other(-1)", "", "Previous run in progress", "["),
    "live.retry": Action("t", "retry", "retry", "Retry the server that this run is waiting for"),
    "events.errors": Action("e", "errors", "errors only", "Errors only, or everything"),
}

_ALERTS = {
    "alerts.acknowledge": Action("a", "acknowledge", "acknowledge", "Acknowledge with a note"),
    "alerts.all": Action("w", "all_runs", "all runs", "This run's alerts, or those of all runs"),
}

_DECISION = {
    "decision.worst": Action("w", "worst", "worst answers", "This candidate's worst answers first"),
    "decision.flips": Action(
        "f", "flips", "flips", "Examples that turned from right to wrong, then the other way round"
    ),
    "decision.pane": Action(
        "tab", "focus_next", "questions", "Next pane: candidates, questions, the numbers"
    ),
    "decision.what_if": Action(
        "i",
        "what_if",
        "what if",
        "What if: move the gates' limits and see what would ship",
        also="gates limits",
    ),
    "what_if.more": Action("right,plus", "step(1)", "move", "Raise this limit by a step", "→"),
    "what_if.less": Action("left,minus", "step(-1)", "", "Lower this limit by a step", "←"),
    "what_if.off": Action("o", "off", "off or on", "Leave this gate off, or turn it on"),
    "what_if.undo": Action("u", "undo", "plan's", "Back to the plan's limits", also="undo reset"),
    "what_if.save": Action("s", "save", "write", "Write the moved limits into the plan's file", also="save"),
    "what_if.pane": Action("tab", "focus_next", "figures", "Next pane: gates, the figures held to one"),
}

_PROPOSALS = {
    "proposals.accept": Action("a", "decide('accept')", "accept", "Accept into the eval set's next version"),
    "proposals.reject": Action("n", "decide('reject')", "reject", "Reject it, and all that ask the same"),
    "proposals.training": Action(
        "t", "decide('accept', '--training')", "train", "Accept its correction for training pairs instead"
    ),
    "proposals.edit": Action("e", "edit", "edit", "Write the right answer in $EDITOR"),
    "proposals.question": Action(
        "i", "edit('question')", "", "Write the question of a synthetic one in $EDITOR"
    ),
    "proposals.undo": Action("u", "undo", "undo", "Undo your last decision"),
    "proposals.all": Action("w", "all", "all", "Those that are decided too, or the open ones alone"),
}

_MAP = {
    "map.left": Action("h,left", "across(-1, 0)", "", "The next candidate to the left", "h ←"),
    "map.right": Action("l,right", "across(1, 0)", "", "The next candidate to the right", "l →"),
    "map.up": Action("k,up", "across(0, 1)", "", "The next candidate above", "k ↑"),
    "map.down": Action("j,down", "across(0, -1)", "", "The next candidate below", "j ↓"),
    "map.next": Action("n,right_square_bracket", "candidate(1)", "next", "Next candidate, by step", "n ]"),
    "map.previous": Action("p,left_square_bracket", "candidate(-1)", "", "Candidate before, by step", "p ["),
    "map.by": Action("b", "by", "by rank, lr, step", "All in one, by rank, by learning rate, or over steps"),
}

_MONITOR = {
    "monitor.next": Action("j,down,tab", "measure(1)", "", "Next measure", "j ↓"),
    "monitor.previous": Action("k,up,shift+tab", "measure(-1)", "", "Measure before", "k ↑"),
    "monitor.later": Action("l,right,right_square_bracket", "period(1)", "period", "The next period", "h l"),
    "monitor.earlier": Action("h,left,left_square_bracket", "period(-1)", "", "The period before", "h ←"),
    "monitor.last": Action("G,end", "edge(-1)", "", "The last period"),
    "monitor.first": Action("g,home", "edge(0)", "", "The first period"),
    "monitor.worst": Action(
        "enter", "review('worst')", "worst answers", "This week's worst answers in Review", also="complaints"
    ),
    "monitor.random": Action(
        "w",
        "review('random')",
        "random 50",
        "A random sample of this week's answers in Review: your labels tell how good they are",
        also="shadow review queue label",
    ),
    "monitor.days": Action("d", "days", "days", "By day, or by week"),
    "monitor.variant": Action("v", "variant", "variant", "Next variant"),
    "monitor.beside": Action("b", "beside", "beside", "All variants beside one another, or one"),
    "monitor.acknowledge": Action("a", "acknowledge", "acknowledge", "Acknowledge this alert"),
    "monitor.proposals": Action(
        "p", "app.proposals", "proposals", "Proposals: what this traffic teaches the eval set"
    ),
    "monitor.eval_set": Action(
        "e", "eval_set", "eval set", "Name the eval set that the questions are compared with"
    ),
    "monitor.again": Action("r", "again", "", "Read the traffic again"),
}

_COMPARE: dict[str, Action] = {
    "compare.candidate": Action(
        "right_square_bracket,c", "candidate(1)", "candidate", "Next candidate", "] c"
    ),
    "compare.candidate_back": Action("left_square_bracket", "candidate(-1)", "", "Previous candidate", "["),
    "compare.baseline": Action("right_curly_bracket,b", "baseline(1)", "baseline", "Next baseline", "} b"),
    "compare.baseline_back": Action("left_curly_bracket", "baseline(-1)", "", "Previous baseline", "{"),
    "compare.details": Action("o", "pane('details')", "details", "All numbers on this line, for all models"),
    "compare.about": Action(
        "i", "pane('about')", "about", "About the selected measure: range, needs, source"
    ),
    "compare.fold": Action("space", "fold", "fold", "Fold or unfold this family"),
    "compare.fold_all": Action("z", "fold_all", "fold all", "Fold or unfold all families"),
    "compare.slices": Action(
        "s", "slices", "slices", "Slices: by category, length and features of the prompt"
    ),
    "compare.forest": Action(
        "f", "forest", "plot", "Deltas as a forest plot with the gate's limits, or as a table", also="chart"
    ),
    "compare.picture": Action(
        "p",
        "pane('picture')",
        "picture",
        "This measure's distribution; a classifier's confusion table",
        also="histogram chart",
    ),
    "slices.map": Action("m", "map", "map", "Heat map of slices and measures, or the list", also="chart"),
    "slices.all": Action("a", "all_measures", "all measures", "Slices of this measure, or of all measures"),
}

_JUDGES: dict[str, Action] = {
    "judges.open": Action(
        "enter", "open", "disagreements", "Where two judges disagree most; again: both answers"
    ),
    "judges.pane": Action("tab", "focus_next", "next pane", "Next pane: judges, the selected one, disputes"),
}

_PEOPLE: dict[str, Action] = {
    "agreement.next": Action(
        "right_square_bracket,n", "match(1)", "next judge", "Next judge or match", "] n"
    ),
    "agreement.previous": Action("left_square_bracket,N", "match(-1)", "", "Previous judge or match", "[ N"),
    "agreement.open": Action(
        "enter", "open", "disagreements", "Where people and the judge disagree; again: the answers"
    ),
    "agreement.picture": Action(
        "p",
        "picture",
        "picture",
        "The judge's confidence or scores against people, or the figures",
        also="calibration curve chart",
    ),
    "agreement.label": Action(
        "l", "label", "label", "Label a random sample: it corrects the judge's win rate"
    ),
    "agreement.pane": Action("tab", "focus_next", "next pane", "Next pane: the figures, the confusion table"),
    "failures.export": Action(
        "e", "export", "eval set", "Write this tag's examples as an eval set", also="export save file"
    ),
    "failures.alike": Action("s", "alike", "suggest", "Untagged examples similar to the tagged ones"),
}

# Review records a preference with one key, so it takes digits and lower-case letters for itself.
_REVIEW: dict[str, Action] = {
    "review.next": Action(
        "j,right,space", "step(1)", "next", "Next example; space skips without deciding", "j space"
    ),
    "review.previous": Action("k,left", "step(-1)", "", "Previous example", "k ←"),
    "review.guidelines": Action("g", "guidelines", "", "Guidelines, with examples of tags and grades"),
    "review.first": Action("home", "first", "", "First example"),
    "review.last": Action("G,end", "last", "", "Last example"),
    "review.left": Action("1", "prefer('left')", "left", "The left answer is better"),
    "review.right": Action("2", "prefer('right')", "right", "The right answer is better"),
    "review.tie": Action("t", "prefer('tie')", "tie", "Both are equally good"),
    "review.both_bad": Action("b", "prefer('both_bad')", "both bad", "Both are bad"),
    "review.thumbs_up": Action("plus", "thumbs('up')", "", "Thumbs up for the candidate's answer", "+"),
    "review.thumbs_down": Action(
        "minus", "thumbs('down')", "", "Thumbs down for the candidate's answer", "-"
    ),
    "review.rate": Action("r", "rate", "rate", "Rate it from 1 to 5 by each criterion of the rubric"),
    "review.correct": Action("e", "correct", "edit", "Write the correct answer in $EDITOR"),
    "review.other": Action("a", "other", "", "Apply ratings and tags to the other answer"),
    "review.undo": Action("u", "undo", "undo", "Undo your latest decision, note or tag"),
    "review.note": Action("n", "note", "note", "Write a note"),
    "review.flag": Action("f", "flag", "tag", "Tag a failure by its letter; again: remove the tag"),
    "review.later": Action("l", "later", "later", "Set aside for later, or no longer"),
    "review.worst": Action("w", "worst", "worst", "Worst first, by a measure to choose"),
    "review.in_order": Action("W", "in_order", "", "Back to the queue's own order"),
    "review.queue": Action("F", "queue", "queue", "Choose a queue: losses, disagreements, random, …"),
    "review.groups": Action(
        "d", "groups", "groups", "Flips in groups: slices and words they have in common", also="cluster"
    ),
    "groups.open": Action("enter", "open", "review", "Review the flips of this group alone"),
    "groups.tag": Action("f", "tag_all", "tag all", "Tag all answers of this group; one undo removes it"),
    "groups.export": Action(
        "e", "export", "eval set", "Write this group's examples as an eval set", also="export save file"
    ),
    "review.blind": Action(
        "B", "blind", "blind", "Blind mode: hide names, scores and verdicts, shuffle sides"
    ),
    "review.own": Action("P", "own", "yours", "Your own win rate, side bias and pace"),
    "review.exclude": Action(
        "x", "exclude", "exclude", "Exclude this example from later runs, or restore it"
    ),
    "review.bisect": Action(
        "p",
        "bisect",
        "since when",
        "Since when: at which checkpoint, or in which run, this example was lost",
        also="bisect history regression step",
    ),
    "review.details": Action(
        "o,tab", "details", "details", "Judges' reasons, all metrics, the whole query", "o tab"
    ),
    "review.view": Action(
        "v", "view(1)", "view", "Next view: unified, against a reference, raw, turns, JSON"
    ),
    "review.views": Action("s", "views", "", "Choose a view"),
    "review.models": Action("m", "models", "models", "All models of the run on this example, or the two"),
    "review.unfold": Action("z", "unfold", "", "Unfold the equal lines, or fold them"),
    "review.thoughts": Action("i", "thoughts", "", "Fold or unfold the reasoning traces"),
    "review.details_down": Action("D", "scroll_details(1)", "", "Scroll the details down"),
    "review.details_up": Action("U", "scroll_details(-1)", "", "Scroll the details up"),
    "review.scroll_down": Action("down", "scroll(1)", "", "Scroll both answers by a line", "↓"),
    "review.scroll_up": Action("up", "scroll(-1)", "", "Scroll both answers back by a line", "↑"),
    "review.page_down": Action(
        "ctrl+d,pagedown", "scroll_page(1)", "", "Scroll both answers by half a screen", "^d"
    ),
    "review.page_up": Action(
        "ctrl+u,pageup", "scroll_page(-1)", "", "Scroll both answers back by half a screen", "^u"
    ),
}

_SPLITS: dict[str, Action] = {
    "splits.exclude": Action(
        "x", "exclude", "exclude", "Exclude this example from later runs, or restore it"
    ),
    "splits.undo": Action("u", "undo", "restore", "Restore the example that you excluded last", also="undo"),
    "splits.next": Action("right_square_bracket", "part(1)", "next part", "Next part", "]"),
    "splits.previous": Action("left_square_bracket", "part(-1)", "", "Previous part", "["),
    "splits.leaks": Action("1", "part_at(0)", "", "Leakage: what appears in the training data"),
    "splits.sizes": Action("2", "part_at(1)", "", "Sizes by split and category"),
    "splits.coverage": Action("3", "part_at(2)", "", "Coverage: what the eval set asks, and what is missing"),
    "splits.lock": Action("4", "part_at(3)", "", "Test lock: who used the test split, when and why"),
    "splits.versions": Action("5", "part_at(4)", "", "Versions of the eval set, and excluded examples"),
}

REGISTRY: dict[str, Action] = {
    **_EVERYWHERE, **_MOVING, **_TABLE, **_SHARING, **_MENU, **_RUNS, **_STARTING, **_TRENDS,
    **_LIVE, **_ALERTS, **_DECISION, **_MAP, **_MONITOR, **_PROPOSALS, **_COMPARE, **_JUDGES, **_PEOPLE,
    **_REVIEW, **_SPLITS,
}  # fmt: skip
EVERYWHERE = tuple(_EVERYWHERE)
SHARING = tuple(_SHARING)
LIST = ("move.down", "move.up", "move.top", "move.bottom", "move.page_down", "move.page_up")


def bindings(*ids: str) -> list[BindingType]:
    """The bindings of these actions, in this order."""
    return [
        Binding(key.keys, key.action, key.label, show=bool(key.label), tooltip=key.help, id=name)
        for name, key in ((name, REGISTRY[name]) for name in ids)
    ]


def written(name: str) -> str:
    """An action's keys as people read them."""
    key = REGISTRY[name]
    return key.shown or key.keys.split(",")[0]
