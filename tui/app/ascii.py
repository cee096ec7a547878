"""Output for terminals that have nothing but ASCII: every other character becomes one of the same width."""

from rich.cells import cell_len

_ALIKE = {
    "…": ".", "–": "-", "—": "-", "−": "-", "·": ".", "×": "x", "±": "~", "≤": "<", "≥": ">", "≈": "~",
    "≠": "!", "▸": ">", "▾": "v",
    "“": '"', "”": '"', "‘": "'", "’": "'", "→": ">", "←": "<", "↑": "^", "↓": "v", "⏎": "$", "⏐": "|",
    "›": ">", "‹": "<", "✓": "+", "✗": "x", "▶": ">", "‖": "=", "○": "o", "●": "*", "█": "#", "░": ".",
    "▒": ":", "▓": "#", "□": "_", "■": "#", "␉": ">", "␡": "?", "°": "o", "²": "2", "√": "V", "Δ": "D",
    "▲": "^", "▼": "v", "◆": "*", "◇": "o", "•": "*", "└": "+", "├": "+", "┌": "+", "┐": "+", "┘": "+",
    "┤": "+", "┬": "+", "┴": "+", "┼": "+", "─": "-", "━": "=", "│": "|", "┃": "|", "╌": "-", "╎": "|",
}  # fmt: skip
_STEPS = "▁▂▃▄▅▆▇"  # of spark lines: from low to high


def ascii_only(text: str) -> str:
    """The text with every character that is not ASCII replaced, without a change to its width in cells."""
    return text if text.isascii() else "".join(map(_ascii, text))


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in _STEPS:
        return "_.:-=+*"[_STEPS.index(character)]
    if "\u2400" <= character <= "\u241f":  # pictures of control characters
        return "?"
    return _ALIKE.get(character) or "?" * cell_len(character)
