"""What a person says of the runs in the list: tags, notes, deleting, and taking back."""

from typing import TYPE_CHECKING, Any

from store.person import user_name
from tui.screens.base import AssayScreen
from tui.text.gate import cut

if TYPE_CHECKING:
    from store.read.history import Connection
    from store.read.rows import RunRow
    from tui.widgets.rows import Rows

MARKING = ("runs.tag", "runs.note", "runs.delete", "runs.undo")


class MarkingScreen(AssayScreen):
    """A list of runs whose keys mark the one at the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._deleted: list[int] = []  # by this screen, the newest last: what u brings back first

    @property
    def rows(self) -> "Rows[RunRow]":
        raise NotImplementedError

    def action_tag(self) -> None:
        row = self.rows.item
        if row is None:
            return
        before = (row.tags or "").replace(",", "")
        self.ask(
            f"Tags of run {row.id}",
            lambda text: self.write(_set_tags, row.id, text.split(), done=f"run {row.id}: tags kept"),
            value=before,
        )

    def action_note(self) -> None:
        row = self.rows.item
        if row is None:
            return
        person = user_name()

        def answered(text: str) -> None:
            from store.marks import mark

            if text.strip():
                self.write(mark, row.id, "note", text.strip(), person, done=f"run {row.id}: noted")

        self.ask(f"Note on run {row.id}, as {cut(person, 20)}", answered)

    def action_delete(self) -> None:
        from store.marks import delete

        row = self.rows.item
        if row is None:
            return

        def put_away(connection: "Connection") -> None:
            delete(connection, row.id, user_name())
            self._deleted.append(row.id)

        self.write(put_away, done=f"run {row.id} is deleted: u brings it back")

    def action_undo(self) -> None:
        from store.marks import restore

        if self._deleted:
            run_id = self._deleted.pop()
            self.write(restore, run_id, user_name(), done=f"run {run_id} is back")
        elif self.rows.item is not None:
            self.write(_take_back, self.rows.item.id, done="taken back")


def _set_tags(connection: "Connection", run_id: int, words: list[str]) -> None:
    """Makes the run's tags these words."""
    from store import marks

    standing, person = marks.tags(connection, run_id), user_name()
    for word in words:
        marks.tag(connection, run_id, word, person)
    for word in standing:
        if word not in words:
            marks.untag(connection, run_id, word, person)


def _take_back(connection: "Connection", run_id: int) -> Any:
    from store.marks import take_back

    return take_back(connection, run_id, user_name())
