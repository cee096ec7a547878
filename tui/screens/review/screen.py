"""Review: two answers side by side, and a person's own judgement of them, one key a decision."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from textual.content import Content
from textual.events import Key

from engine.data.example import query_id
from store.read.failures import tags
from store.read.queues import FLIPS
from store.reviewing import TakenBack, criteria, decide, take_back, toggle, toggle_tag
from tui.keys import bindings
from tui.screens.review.aside import NEW, tag_choices, tag_name
from tui.screens.review.data import tells_nothing
from tui.screens.review.lines import DECISIONS
from tui.screens.review.queue import LookingScreen
from tui.screens.splits.data import toggle as toggle_exclusion
from tui.text.gate import counted, cut, join, plain
from tui.widgets.lines import Line

GRADES = "12345"


class RatingLine(Line):
    """Asks for each criterion in turn; a grade is recorded before the next is asked for.

    `rate` records one and says whether that worked; `done` is called at the end, and on escape.
    """

    DEFAULT_CSS = "RatingLine { padding: 0 1; }"

    def __init__(
        self,
        whose: str,
        criteria: Sequence[str],
        rate: Callable[[str, str], Awaitable[bool]],
        done: Callable[[], None],
    ) -> None:
        super().__init__(focusable=True)
        self._whose = whose
        self._criteria = criteria
        self._rate = rate
        self._done = done
        self._at = 0
        self._ask()

    def _ask(self) -> None:
        name = self._criteria[self._at]
        place = f" {self._at + 1}/{len(self._criteria)}" if len(self._criteria) > 1 else ""
        self.set(
            join(
                [
                    plain(f"{cut(self._whose, 20)}: {cut(name, 30)}{place}", "$heading"),
                    Content.styled("  1 worst – 5 best · space skip · esc cancel", "$muted"),
                ]
            )
        )

    async def on_key(self, event: Key) -> None:
        if event.key.startswith("ctrl+"):
            return
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self._done()
        elif event.key == "space" or (
            event.character is not None
            and event.character in GRADES
            and await self._rate(self._criteria[self._at], event.character)
        ):
            self._at += 1
            if self._at == len(self._criteria):
                self._done()
            else:
                self._ask()


BLIND_START = "random"  # where blind mode begins in a queue that would tell the verdict


class ReviewScreen(LookingScreen):
    """The queue, with keys to decide."""

    FOOTER = (
        "review.left", "review.right", "review.tie", "review.both_bad", "review.next", "review.undo",
        "review.queue", "review.flag", "review.details", "review.view", "review.note", "review.rate",
        "review.correct", "review.later", "review.worst", "find.filter", "review.blind",
        "review.own", "review.exclude",
    )  # fmt: skip
    BINDINGS = bindings(
        "review.left", "review.right", "review.tie", "review.both_bad", "review.undo", "review.note",
        "review.flag", "review.later", "review.thumbs_up", "review.thumbs_down", "review.rate",
        "review.correct", "review.other", "review.blind", "review.own", "review.exclude",
        "review.guidelines", "review.groups",
    )  # fmt: skip

    _other: tuple[int, bool] | None = None  # the example of which the left answer is meant, not the right one

    # What is said of which answer

    def _said(self, kind: str, value: str, **more: Any) -> dict[str, Any]:
        """What is to be recorded of the example in sight."""
        review = self._review
        assert review is not None and review.pair is not None
        return {
            "run_id": self.run_id,
            "example_id": review.pair.view.example.id,
            "kind": kind,
            "value": value,
            "annotator": self.person,
            "queue": review.wanted.queue,
            "blind": review.blind,
            "control": review.pair.control,
            "left_id": review.pair.left_id,
            "right_id": review.pair.right_id,
        } | more

    def _of_one(self, kind: str, value: str, **more: Any) -> dict[str, Any]:
        """What is to be recorded of one answer: the right one, unless the other is meant."""
        review = self._review
        assert review is not None and review.pair is not None
        ids = review.pair.left_id, review.pair.right_id
        return self._said(kind, value, **more) | {"left_id": ids[not self._means_left], "right_id": None}

    @property
    def _means_left(self) -> bool:
        return self._other is not None and self._other == self._example

    @property
    def _whose(self) -> str:
        """What the answer is called that is meant."""
        return "" if self._review is None else self._review.names[not self._means_left]

    def _is_ready(self) -> bool:
        """Whether there is an example to say something on; where not, that is said."""
        if self._review is None or self._review.pair is None:
            self.say("there is no example here" if self._review else "still reading", error=True)
            return False
        return True

    def action_other(self) -> None:
        if self._is_ready():
            self._other = None if self._means_left else self._example
            self.say(f"thumbs, ratings, tags and corrections now apply to {cut(self._whose, 40)}")

    # Decisions

    async def action_prefer(self, value: str) -> None:
        """Records a preference, and only when it is on disk shows the next example."""
        review = self._review
        if not self._is_ready() or review is None or review.pair is None:
            return
        example, control = review.pair.view.example, review.pair.control
        seconds = monotonic() - self._since
        last = review.place + 1 == len(review.items)
        with self._told():
            said = self._said("preference", value, seconds=seconds)
            self._left = None  # the place is remembered with the decision
            following = review.items[review.place + (not last)]
            place = (review.wanted.place_key, following.example_id) if not following.control else None
            await self.assay.store.ask(decide, said, place)
            decided = review.decided if control else review.decided | {example.id}
            self._review = replace(review, decided=decided, seconds=(seconds, *review.seconds[:49]))
            await self._go_to(review.place + (not last))
            words = f"{example.example}: {DECISIONS[value]}"
            self.say(f"{words}; this was the last one" if last else words)
            if last and review.blind and not self._review.undecided:
                self.action_own()

    async def action_thumbs(self, value: str) -> None:
        await self._write_down(self._of_one("thumbs", value) if self._is_ready() else None)

    def action_note(self) -> None:
        if self._is_ready():
            self.ask("note", lambda text: self._noted("note", text))

    def _noted(self, kind: str, text: str) -> None:
        if text.strip():
            self.run_worker(self._write_down(self._said(kind, text.strip())))

    async def _write_down(self, said: dict[str, Any] | None) -> bool:
        """Records something that does not lead to the next example; whether that worked."""
        if said is None:
            return False
        with self._told():
            await self.assay.store.ask(decide, said)
            self.reload()
            return True
        return False

    async def action_later(self) -> None:
        if self._is_ready():
            with self._told():
                # Of the baseline's side whichever stands where, so that it can be taken back.
                said = self._said("flag", "later", control=False) | self._unsided
                on = await self.assay.store.ask(toggle, said)
                self.reload()
                self.say("set aside for later: F f" if on else "no longer for later")

    @property
    def _unsided(self) -> dict[str, int]:
        review = self._review
        assert review is not None
        return {"left_id": review.baseline.id, "right_id": review.candidate.id}

    # Tags, ratings, corrections

    async def action_flag(self) -> None:
        review = self._review
        if not self._is_ready() or review is None or review.pair is None:
            return
        with self._told():
            offered = await self.assay.store.ask(tags)
            said = self._of_one("tag", "")
            mine = {
                note.value
                for note in review.pair.view.annotations
                if note.kind == "tag" and note.annotator == self.person and note.left_id == said["left_id"]
            }
            label = f"tag {cut(self._whose, 30)}"
            if offered:
                self.choose(label, tag_choices(offered, mine), lambda name: self._tag_chosen(said, name))
            else:
                self.ask(f"{label} · a new tag", lambda name: self._tag_chosen(said, name))

    def _tag_chosen(self, said: dict[str, Any], name: str) -> None:
        if name == NEW:
            self.ask("a new tag", lambda text: self._tag_chosen(said, text))
        elif tag_name(name):
            self.run_worker(self._tagged(said | {"value": tag_name(name)}))

    async def _tagged(self, said: dict[str, Any]) -> None:
        with self._told():
            name, on = await self.assay.store.ask(toggle_tag, said)
            self.reload()
            self.say(f"tagged {cut(name, 40)}" if on else f"no longer tagged {cut(name, 40)}")

    async def action_rate(self) -> None:
        if not self._is_ready():
            return
        with self._told():
            asked = await self.assay.store.ask(criteria, self.run_id)
            said = self._of_one("rating", "")

            async def rate(criterion: str, value: str) -> bool:
                return await self._write_down(said | {"criterion": criterion, "value": value})

            self._open_question(RatingLine(self._whose, asked, rate, self._close_question))
            self.query_one("#footer").display = False

    async def action_correct(self) -> None:
        """The answer as it should have been, written in the person's own editor."""
        review = self._review
        if review is None or review.pair is None:
            return
        from tui.screens.review.aside import edited

        view = review.pair.view
        answer = view.baseline if self._means_left else view.candidate
        found = edited(self.app, (answer.text if answer else None) or "")
        if found.text is None:
            kept = f"kept in {found.kept}: " if found.kept else ""  # first, for the line may be short
            self.say(f"{kept}{found.reason}", error=bool(found.kept))
        elif await self._write_down(self._of_one("correction", found.text)):
            found.discard()
            self.say("the corrected answer is recorded")
        else:
            self.say(f"not recorded; it is kept in {found.kept}", error=True)

    # The example, and taking back

    async def action_exclude(self) -> None:
        """Takes this example out of later runs, or puts it back."""
        if self.run is None or self.run.eval_set is None or self._review is None or self._review.pair is None:
            return
        example = self._review.pair.view.example
        identity = example.example, query_id(example.query)
        with self._told():
            said = await self.assay.store.ask(toggle_exclusion, self.run.eval_set, identity)
            self.reload()
            self.say(said)

    async def action_undo(self) -> None:
        """Takes back the newest decision, whichever queue it was made in, and goes there."""
        with self._told():
            taken = await self.assay.store.ask(take_back, self.run_id, self.person)
            if taken is None:
                self.say("nothing to undo")
                return
            self._wanted = replace(self._wanted, example_id=taken.example_id)
            if self._review and all(item.example_id != taken.example_id for item in self._review.items):
                self._wanted = replace(self._wanted, show="all", search="", within="")
            self.reload()
            where = cut(taken.example, 24) if taken.answers == 1 else counted(taken.answers, "answer")
            self.say(f"undone: {where}: {self._told_of(taken)}")

    def _told_of(self, taken: TakenBack) -> str:
        """What was taken back, by the models' names, for their sides may have changed since."""
        review = self._review
        if taken.kind != "preference" or taken.value not in ("left", "right"):
            words = DECISIONS.get(taken.value, cut(taken.value, 40))
            return words if taken.kind == "preference" else f"{taken.kind} {words}"
        if review is None or review.blind:
            return DECISIONS[taken.value] if taken.blind else "a preference"
        chosen = taken.left_id if taken.value == "left" else taken.right_id
        names = {model.id: model.name for model in (*review.candidates, *review.baselines)}
        return f"{cut(names.get(chosen or 0, 'an answer'), 30)} is better"

    # Blind

    def action_blind(self) -> None:
        """Into blind mode, or out of it: what was hidden shows."""
        blind = not self._wanted.blind
        show = self._wanted.show if not blind or tells_nothing(self._wanted.show) else BLIND_START
        kept = show == self._wanted.show
        self._want(
            blind=blind,
            show=show,
            within=self._wanted.within if kept else "",
            worst_by=None if blind else self._wanted.worst_by,
            keep_example=kept,
        )
        self.say(
            "blind: names, scores and verdicts are hidden, sides at random; B ends it"
            if blind
            else "no longer blind"
        )

    def action_groups(self) -> None:
        """What the flips have in common; one of these groups narrows the queue of flips."""
        from tui.screens.review.aside import FlipGroupsScreen

        review = self._review
        if self._wanted.blind:
            self.say("while blind, what flipped stays hidden; B ends it")
        elif review is not None:
            by = self._wanted.worst_by if self._wanted.show == FLIPS else None

            def narrow(key: str) -> None:
                self._want(show=FLIPS, search="", within=key, worst_by=by, keep_example=False)

            self.app.push_screen(FlipGroupsScreen(self.run_id, review, self.person, narrow))

    def action_guidelines(self) -> None:
        from tui.screens.review.aside import GuidelinesScreen

        self.app.push_screen(GuidelinesScreen(self.run_id))

    def action_own(self) -> None:
        from tui.screens.review.aside import OwnScreen

        review = self._review
        if review is not None:
            self.app.push_screen(OwnScreen(self.run_id, review.candidate, review.baseline, self.person))
