"""What can be wrong with a store, said so that a person can act on it."""


class StoreError(Exception):
    """The store cannot be opened, read or written; nothing in it was changed."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message
