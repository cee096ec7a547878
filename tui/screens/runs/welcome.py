"""What Runs shows where there is no run yet: what Assay is, and the key that leads to the first one."""

from textual.content import Content

from tui.keys import written
from tui.widgets.lines import Pane

WELCOME = """\
Assay asks your fine-tuned models and the ones before them the same questions,
and says what got better, what was forgotten, and whether to ship it.

There is no run here yet. {start} starts one: of a plan in this folder, of a new
plan for the models and data found here, or of the bundled samples.

In a shell:

  assay plan           writes a plan for the models and data in this folder
  assay init           writes a plan and a small eval set to fill in
  assay run PLAN       runs a plan, with progress in the terminal"""


class Welcome(Pane):
    DEFAULT_CSS = "Welcome { padding: 1 1 0 1; display: none; }"

    def on_mount(self) -> None:
        self.show([Content(line) for line in WELCOME.format(start=written("runs.start")).split("\n")])
