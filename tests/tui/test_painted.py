"""The driver writes only the cells that differ, and what then stands on the terminal is the whole frame."""

import random
import re

import pytest
from rich.cells import cell_len

from tui.app.terminal import Painted

Look = tuple[frozenset[str], str, str]
TOKEN = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|([^\x1b])")
OFF = {"22": "12", "23": "3", "24": "4", "25": "5", "27": "7", "29": "9"}
BLUE, PANEL = "38;2;108;178;255", "48;2;27;34;45"


class Terminal:
    """As much of a terminal as the driver uses, which erases with the background's colour."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, Look]] = {}
        self.row = self.column = 1
        self.look: Look = (frozenset(), "39", "49")

    def feed(self, text: str) -> "Terminal":
        for codes, final, character in TOKEN.findall(text):
            if character:
                self._put(character)
            elif final == "H":
                self.row, self.column = map(int, codes.split(";"))
            elif final == "G":
                self.column = int(codes)
            elif final == "X":
                for place in range(self.column, self.column + int(codes)):
                    self._set(place, " ", (frozenset(), "39", self.look[2]))
            else:
                assert final == "m", final
                self._style(codes.split(";"))
        return self

    def _put(self, character: str) -> None:
        wide = cell_len(character) == 2
        self._set(self.column, character, self.look)
        if wide:
            self._set(self.column + 1, "", self.look)
        self.column += 1 + wide

    def _set(self, place: int, text: str, look: Look) -> None:
        for near, gone in ((place - 1, text != ""), (place + 1, True)):
            old = self.cells.get((self.row, place))
            half = old is not None and (old[0] == "" if near < place else cell_len(old[0]) == 2)
            if half and gone:
                self.cells[self.row, near] = ("?", look)
        self.cells[self.row, place] = (text, look)

    def _style(self, codes: list[str]) -> None:
        marks, colour, ground = self.look
        while codes:
            code = codes.pop(0)
            if code in ("", "0"):
                marks, colour, ground = frozenset(), "39", "49"
            elif code in OFF:
                marks -= set(OFF[code])
            elif code in ("38", "48"):
                size = {"2": 4, "5": 2}[codes[0]]
                whole, codes = ";".join([code, *codes[:size]]), codes[size:]
                colour, ground = (whole, ground) if code == "38" else (colour, whole)
            elif code in "123456789":
                marks |= {code}
            elif code[0] in "39" and len(code) == 2:
                colour = code
            else:
                ground = code
        self.look = (marks, colour, ground)

    @property
    def seen(self) -> dict[tuple[int, int], tuple[str, object]]:
        """The cells as a person tells them apart: of a blank the letters' colour is not seen."""
        return {
            place: (text, look[2] if text == " " and not look[0] & set("479") else look)
            for place, (text, look) in self.cells.items()
        }


def styled(codes: str, text: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def frames(seed: int) -> list[tuple[int, int, str]]:
    """Pieces of lines in many styles, which overlap; now and then one again, or with a little change."""
    chosen = random.Random(seed)
    words = ["a", "word", " ", "  ", " " * 14, "包裹", "è·", "x" * 20, "1.0"]
    styles = ["", "1", f"1;{BLUE}", f"{BLUE};{PANEL}", "7", "4;31;42", f"2;97;{PANEL}", "38;5;9;104", "1;2;3"]
    pieces: list[tuple[int, int, str]] = []
    for _ in range(60):
        if pieces and chosen.random() < 0.3:
            pieces.append(chosen.choice(pieces))
            continue
        drawn = "".join(
            styled(chosen.choice(styles), chosen.choice(words)) for _ in range(chosen.randrange(1, 7))
        )
        pieces.append((chosen.randrange(1, 4), chosen.choice([1, 2, 5, 30]), drawn))
    return pieces


@pytest.mark.parametrize("erases", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_what_stands_there_in_the_end_is_the_same_as_if_all_were_written(seed: int, erases: bool) -> None:
    painted, thrifty, lavish = Painted(erases=erases), Terminal(), Terminal()
    for piece in frames(seed):
        thrifty.feed(painted.changes([piece]))
        lavish.feed(f"\x1b[{piece[0]};{piece[1]}H{piece[2]}\x1b[0m")
    # Where half of a wide character was left over, terminals show what they like.
    whole = {place for place, (text, _) in lavish.cells.items() if text != "?"}
    assert {place: thrifty.seen[place] for place in whole} == {place: lavish.seen[place] for place in whole}
    assert thrifty.look == (frozenset(), "39", "49")


def test_a_frame_that_stands_there_already_costs_nothing() -> None:
    painted = Painted()
    pieces = [(1, 1, styled(f"1;{BLUE};{PANEL}", "one  ") + "two"), (2, 1, "包裹 ok")]
    assert painted.changes(pieces)
    assert painted.changes(pieces) == ""
    assert painted.changes([(1, 4, styled(PANEL, "  ") + "two")]) == ""


def test_of_a_style_only_what_is_new_is_written() -> None:
    painted = Painted()
    written = painted.changes([(1, 1, styled(f"1;{BLUE};{PANEL}", "a") + styled(f"{BLUE};{PANEL}", "b"))])
    assert written == f"\x1b[1;1H\x1b[1;{BLUE};{PANEL}ma\x1b[22mb\x1b[0m"
    again = painted.changes([(1, 1, styled(f"1;{BLUE};{PANEL}", "a") + styled(f"{BLUE};{PANEL}", "c"))])
    assert again == f"\x1b[1;2H\x1b[{BLUE};{PANEL}mc\x1b[0m"


def test_short_gaps_are_written_and_long_ones_passed_over() -> None:
    painted = Painted()
    painted.changes([(1, 1, "one two three four")])
    assert painted.changes([(1, 1, "ONE two THREE four")]) == "\x1b[1;1HONE\x1b[9GTHREE"
    assert painted.changes([(1, 1, "ONE Two THREE fouR")]) == "\x1b[1;5HT\x1b[18GR"
    assert painted.changes([(1, 1, "one two THREE fouR")]) == "\x1b[1;1Hone t"


def test_long_blanks_are_erased_only_where_that_keeps_the_background() -> None:
    piece = (1, 1, styled(PANEL, "a" + " " * 30 + "b"))
    assert "\x1b[30X\x1b[32Gb" in Painted(erases=True).changes([piece])
    assert "a" + " " * 30 + "b" in Painted().changes([piece])
    reversed_ = (1, 1, styled("7", " " * 30))
    assert "X" not in Painted(erases=True).changes([reversed_])


def test_a_piece_of_doubtful_width_is_written_whole_and_so_is_what_replaces_it() -> None:
    painted = Painted()
    doubtful = "ok 👩‍👩‍👧 family"
    assert doubtful in painted.changes([(1, 1, doubtful)])
    assert painted.changes([(1, 1, doubtful)]) == ""
    assert painted.changes([(1, 1, "ok plain family")]) == "\x1b[1;1Hok plain family"


def test_what_a_doubtful_piece_may_have_run_into_is_drawn_again_behind_it() -> None:
    painted, doubtful = Painted(), "👩‍👩‍👧 family"
    painted.changes([(1, 1, f"{doubtful}|end"), (1, 30, "right")])
    again = painted.changes([(1, 1, "ok".ljust(9))])
    assert again.startswith("\x1b[1;1Hok") and "|end" in again and "right" in again
    assert painted.changes([(1, 30, "right"), (1, 10, "|end")]) == ""
    assert "right" in painted.changes([(1, 1, doubtful)])
    assert painted.changes([(1, 1, doubtful), (1, 30, "right")]) == ""


def test_sequences_that_are_no_styles_go_through_as_they_are() -> None:
    link = "\x1b]8;;https://example.org\x1b\\here\x1b]8;;\x1b\\"
    assert link in Painted().changes([(1, 1, link)])
