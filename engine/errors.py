"""Errors that people read: each names the thing and the way out, and knows its exit code."""

from typing import Self


class AssayError(Exception):
    """A failure with a message for the person at the keyboard; never shown with a traceback."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        # An error that comes from another process brings its hint along.
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class BadInput(AssayError):
    """The plan, a data file or an argument is wrong: nothing was started."""

    exit_code = 2


class CannotRun(AssayError):
    """The run cannot go on; what was finished is kept and can be resumed."""

    exit_code = 3


class Paused(CannotRun):
    """The run waits for a person: nothing is wrong with it, and resuming goes on where it stands."""
