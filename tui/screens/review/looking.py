"""How the answers in Review are looked at: which view, all models or two, equal lines folded or open."""

from tui.keys import bindings
from tui.screens.review.answers import Answers
from tui.screens.review.choosing import ChoosingScreen
from tui.screens.review.views import VIEWS, Look
from tui.widgets.menu import Choice

KEPT = "review look"


class LookingScreen(ChoosingScreen):
    """The queue, with keys that choose the view. It stays for the next example, and the next opening."""

    BINDINGS = bindings("review.view", "review.views", "review.models", "review.unfold")

    def on_mount(self) -> None:
        super().on_mount()
        kept = self.assay.kept.get(KEPT)
        if isinstance(kept, Look):
            self.query_one(Answers).look_at(kept)

    def _look_at(self, look: Look) -> None:
        self.assay.kept[KEPT] = look
        if not self.query_one(Answers).display:
            self.action_details()  # they are in the answers' place
        self.query_one(Answers).look_at(look)

    def action_view(self, step: int) -> None:
        look, names = self.query_one(Answers).look, list(VIEWS)
        at = (names.index(look.view) + (0 if look.models else step)) % len(names)
        self._look_at(look._replace(view=names[at], models=False))

    def action_views(self) -> None:
        look = self.query_one(Answers).look
        choices = [Choice(view.key, name, name, view.note) for name, view in VIEWS.items()]
        self._choose("view", choices, lambda name: self._look_at(look._replace(view=name, models=False)))

    def action_models(self) -> None:
        look = self.query_one(Answers).look
        if self._wanted.blind:
            self.say("while blind, other models' answers stay hidden; B ends it")
        else:
            self._look_at(look._replace(models=not look.models))

    def action_unfold(self) -> None:
        answers = self.query_one(Answers)
        if not answers.folds and not answers.look.unfolded:
            self.say("nothing is folded here")
        else:
            self._look_at(answers.look._replace(unfolded=not answers.look.unfolded))

    @property
    def copied(self) -> str:
        """The candidate's answer in full; while blind, the right one."""
        response = self._review.pair.view.candidate if self._review and self._review.pair else None
        return (response.whole if response else None) or ""
