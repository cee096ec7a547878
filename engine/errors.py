"""Errors that people read: each names the thing and the way out, and knows its exit code."""

import errno
import re
import resource
from typing import Self

LEAST_SECRET = 8  # characters of a key that is taken out of texts; a shorter one occurs in any text
# OpenAI, Anthropic and their like, Hugging Face, Groq, xAI, Google; with a digit, as random keys have.
KEY_SHAPE = re.compile(r"\b(?:sk-|hf_|gsk_|xai-|AIza)(?=[\w-]*\d)[\w-]{16,}")


def is_secret(value: str) -> bool:
    """Whether a text looks like an API key rather than the name of an environment variable."""
    return KEY_SHAPE.search(value) is not None


def install(extra: str) -> str:
    """The way out where a package is missing that only some plans need, of one of our extras."""
    return f"Install: pip install 'assay[{extra}]'"


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


_NO_MEMORY = ("failed to map segment", "can't allocate memory", "annot allocate memory")
_WAYS_OUT = {
    errno.ENOSPC: ": free some space",
    errno.EDQUOT: ": free some space",
    errno.EROFS: ": choose another disk",
}


def refused(error: BaseException) -> str | None:
    """What the machine refused, for people: memory, or a file by its name. None for any other error."""
    code = error.errno if isinstance(error, OSError) else None
    said = str(error)
    if isinstance(error, MemoryError) or code == errno.ENOMEM or any(words in said for words in _NO_MEMORY):
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return "memory ran out: end other programs, or use a smaller model or batch"
        return f"memory ran out: this process may use {limit >> 20} MiB; `ulimit -v unlimited` lifts that"
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}{_WAYS_OUT.get(code or 0, '')}"
