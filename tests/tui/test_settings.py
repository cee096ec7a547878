"""A person's settings: their own keys, a theme for any terminal, ASCII alone, reading alone, copying."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from engine.errors import BadInput
from tests.tui.conftest import Settled
from tests.tui.driver import driven, opened
from tests.tui.history import HOSTILE, NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings, read_keys, read_settings, registry_with, template
from tui.app.terminal import MOST_BYTES, ascii_only, sequence, to_file
from tui.app.themes import THEMES, fitting
from tui.cli.main import guarded, open_app
from tui.keys import REGISTRY
from tui.screens import RUN_SCREENS, load
from tui.widgets.lines import arrows


def settings(text: str, folder: Path, **given: object) -> AppSettings:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return read_settings({"ASSAY_CONFIG": str(file)}, **given)


def test_a_persons_own_keys_take_the_place_of_the_apps(tmp_path: Path) -> None:
    found = settings('[keys]\n"review.left" = ["h", "ctrl+left"]\n"app.quit" = "Q"\n', tmp_path)
    assert found.keys == {"review.left": "h,ctrl+left", "app.quit": "Q"}
    registry = registry_with(found.keys)
    assert registry["review.left"].keys == "h,ctrl+left" and registry["app.quit"].shown == "Q"
    assert registry["review.right"] == REGISTRY["review.right"]


def test_a_wrong_key_is_told_with_the_action_and_what_is_near(tmp_path: Path) -> None:
    text = """
    [keys]
    "reveiw.left" = "h"
    "review.right" = "crtl+p"
    "review.tie" = "ctrl+h"
    "review.note" = "1"
    "app.quit" = "R"
    "app.help" = 7
    """
    with pytest.raises(BadInput) as error:
        settings(text, tmp_path)
    for said in (
        'no action "reveiw.left"; did you mean "review.left"?',
        'no key "crtl+p"; did you mean "ctrl+p"?',
        '"ctrl+h" cannot be told from backspace',
        '"1" would be both review.note and review.left',
        '"R" would be both app.quit and go.runs',
        '"app.help" takes a key or a list of keys',
        "config.toml",
    ):
        assert said in str(error.value)


def test_keys_may_be_swapped(tmp_path: Path) -> None:
    found = settings('[keys]\n"review.left" = "2"\n"review.right" = "1"\n', tmp_path)
    assert found.keys == {"review.left": "2", "review.right": "1"}


def test_the_written_file_changes_nothing_until_a_line_is_taken_up(tmp_path: Path) -> None:
    assert settings(template(), tmp_path) == AppSettings()
    taken = settings(template().replace('# "', '"'), tmp_path)
    assert set(taken.keys) == set(REGISTRY)
    assert all(taken.keys[name] == key.keys for name, key in REGISTRY.items())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('theme = "lite"', "dark, light, terminal"),
        ("colour = 1", 'no setting "colour"'),
        ("ascii = 1", "true or false"),
        ("keys = 3", "not a table"),
        ("theme = ", "not TOML"),
    ],
)
def test_a_wrong_setting_names_file_and_way_out(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        settings(text, tmp_path)
    assert said in str(error.value) and "config.toml" in str(error.value)


def test_the_command_line_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('theme = "light"\nmouse = true\n')
    environment = {"ASSAY_CONFIG": str(file), "ASSAY_THEME": "terminal"}
    assert read_settings({"ASSAY_CONFIG": str(file)}).theme == "light"
    assert read_settings(environment).theme == "terminal"
    found = read_settings(environment, theme="dark", ascii=True, read_only=None)
    assert (found.theme, found.ascii, found.mouse, found.read_only) == ("dark", True, True, False)
    assert read_settings({"ASSAY_CONFIG": str(tmp_path / "none.toml")}) == AppSettings()


def test_a_terminal_of_sixteen_colours_keeps_its_own() -> None:
    assert fitting({"TERM": "linux"}) == "terminal"
    assert fitting({"TERM": "tmux-256color"}) == fitting({"COLORTERM": "truecolor"}) == "dark"


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two #rrggbb colours, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_every_colour_of_a_theme_can_be_read_on_its_grounds(name: str) -> None:
    theme = THEMES[name]
    for ground in (theme.background, theme.panel):
        assert ground is not None
        for colour in ("heading", "muted", "good", "bad", "warn"):
            assert contrast(theme.variables[colour].split()[-1], ground) >= 4.5, (colour, ground)
    cursor = theme.variables["block-cursor-background"]
    assert contrast(theme.variables["block-cursor-foreground"], cursor) >= 4.5


async def test_every_screen_opens_in_the_terminals_own_colours(store_folder: Path, settled: Settled) -> None:
    async with opened(store_folder, settings=AppSettings(theme="terminal")) as ui:
        for name in RUN_SCREENS:
            ui.app.go(name)
            await ui.settled()
            assert type(ui.screen) is load(name)


async def test_themes_change_under_a_key(store_folder: Path) -> None:
    async with opened(store_folder, run=None, settings=AppSettings(theme="light")) as ui:
        assert ui.app.theme == "assay-light"
        await ui.tap("f2")
        assert ui.app.theme == "assay-terminal"
        assert "tickets-v2" in ui.text


@given(st.text())
def test_ascii_output_is_ascii_of_the_same_width(text: str) -> None:
    shown = ascii_only(text)
    assert shown.isascii() and cell_len(shown) == cell_len(text)


def test_what_the_app_draws_has_a_likeness_in_ascii() -> None:
    assert ascii_only("✓ finished · −0.62 … 包 ▁█") == "+ finished . -0.62 ~ ?? _#"


async def test_arrows_are_two_characters_in_ascii_and_columns_stay_in_line(store_folder: Path) -> None:
    async with opened(store_folder, "decision", run=2, settings=AppSettings(ascii=True)) as ui:
        await ui.press("right_square_bracket")
        await ui.shows("0.820 -> 0.200")
        assert "→" not in ui.text
    shown = arrows(Content("cut 0.1 → 0.2   n 12   p 0.03"))
    assert shown.plain == "cut 0.1 -> 0.2  n 12   p 0.03"


async def test_reading_alone_writes_nothing_and_says_so(own_store: Path) -> None:
    before = (own_store / "assay.db").read_bytes()
    app = AssayApp(own_store, 2, "review", now=lambda: NOW, settings=AppSettings(read_only=True))
    async with driven(app, (200, 30)) as ui:  # room for the store's path
        await ui.press("1")
        assert "only be read" in ui.text
        await ui.press("R")
        await ui.press("r")
        assert "--read-only" in ui.text
    assert (own_store / "assay.db").read_bytes() == before


def test_what_is_copied_reaches_the_terminal_as_base64_and_a_file(tmp_path: Path) -> None:
    coded = sequence(HOSTILE)
    assert coded is not None and coded.startswith("\x1b]52;c;") and coded.endswith("\x07")
    assert base64.b64decode(coded[7:-1]) == HOSTILE.encode()
    assert sequence("x" * MOST_BYTES) is None
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "copied.txt").symlink_to(tmp_path / "elsewhere")
    file = to_file(HOSTILE, tmp_path)
    assert file.read_bytes() == HOSTILE.encode() and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (tmp_path / "elsewhere").read_text() == "kept"


async def test_y_copies_the_row_under_the_cursor(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    async with opened(own_store, run=None, size=(140, 24)) as ui:
        await ui.press("j", "y")
        assert "copied" in ui.text
    assert "tickets-v2" in (own_store / "copied.txt").read_text()


def test_a_table_of_keys_is_read_without_a_store() -> None:
    assert read_keys({"app.help": "f1"}, "here") == {"app.help": "f1"}


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "sea.toml").write_text(
        'base = "drak"\ngoood = "#ffffff"\nbad = "red"\nkey = "blod #abcdef"\n'
    )
    (tmp_path / "themes" / "dark.toml").write_text("")
    (tmp_path / "themes" / "no.toml").write_text("[")
    text = 'themes = "sea"\ntheme = "lihgt"\nascii = 1\nmouse = "on"\n[keys]\n"app.qiut" = "Q"\n'
    with pytest.raises(BadInput) as error:
        settings(text, tmp_path, theme="see")
    said = str(error.value)
    for part in (
        'config.toml: there is no setting "themes"; did you mean "theme"?',
        "config.toml: theme: there is no theme 'lihgt'; did you mean \"light\"?",
        "config.toml: ascii is 1",
        "config.toml: mouse is 'on'",
        'no action "app.qiut"; did you mean "app.quit"?',
        "sea.toml: base: there is no theme 'drak'",
        'sea.toml: there is no colour "goood"; did you mean "good"?',
        "sea.toml: bad is 'red'; a colour is written #rrggbb",
        'sea.toml: key: there is no style "blod"; did you mean "bold"?',
        "dark.toml: the app has a theme dark of its own",
        "no.toml: is not TOML",
        "--theme: there is no theme 'see'; did you mean \"sea\"?",
    ):
        assert part in said, part
    assert error.value.exit_code == 2


def test_a_wrong_setting_ends_the_app_with_exit_code_2_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSAY_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)
    assert guarded(lambda: open_app(None, theme="drak")) == 2
    assert capsys.readouterr().err.startswith(
        "assay: --theme: there is no theme 'drak'; did you mean \"dark\"?"
    )


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("odd name", "", "a theme's file is named in a-z"),
        ("own", 'rule = "bold #112233"', "it takes a colour alone"),
        ("own", "good = 3", "good is 3"),
        ("own", 'base = "terminal"\ngood = "#112233"', "a colour is written ansi_blue"),
        ("own", "base = []", "base: there is no theme []"),
        ("own", 'good = ""', "good is ''"),
    ],
)
def test_a_wrong_theme_is_told_with_its_file(name: str, text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / f"{name}.toml").write_text(text)
    with pytest.raises(BadInput) as error:
        settings("", tmp_path)
    assert wrong in str(error.value) and f"{name}.toml" in str(error.value)


OWN = {
    "sea": 'base = "light"\nbackground = "#eef7fa"\ngood = "bold #006d5b"\nrule = "#99aabb"\n',
    "tty": 'base = "terminal"\ngood = "ansi_bright_green"\n',
}


async def test_a_persons_own_theme_is_used_and_f2_goes_round_all(store_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "themes").mkdir()
    for name, text in OWN.items():
        (tmp_path / "themes" / f"{name}.toml").write_text(text)
    found = settings('theme = "sea"\n', tmp_path)
    assert tuple(found.themes) == ("dark", "light", "terminal", "sea", "tty")
    assert found.themes["sea"].variables["bad"] == THEMES["light"].variables["bad"]
    async with opened(store_folder, run=None, settings=found) as ui:
        assert ui.app.theme == "assay-sea"
        for name in ("tty", "dark", "light", "terminal", "sea"):
            await ui.tap("f2")
            assert ui.app.theme == f"assay-{name}" and "tickets-v2" in ui.text
