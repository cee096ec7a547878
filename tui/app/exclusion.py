"""Taking an example out of its eval set and putting it back, from whichever screen shows it."""

from store.person import user_name
from store.read import datasets
from store.read.history import Connection


def toggle(connection: Connection, eval_set: str, identity: tuple[str, str], reason: str = "") -> str:
    """Takes the example out of later runs, or puts it back; returns what there is to say.

    `identity` is its id and `engine.data.example.query_id` of its query. Runs on the store's thread.
    """
    out = datasets.toggle(connection, eval_set, *identity, user_name(), reason)
    return (
        f"{identity[0]} excluded: the next run is on a new version without it" if out else _back(identity[0])
    )


def put_back(connection: Connection, eval_sets: list[str]) -> str:
    """Puts back the example that this person took out last; returns what there is to say."""
    example = datasets.put_back(connection, eval_sets, user_name())
    return "you have taken out nothing that could be put back" if example is None else _back(example)


def _back(example: str) -> str:
    return f"{example} is back: the next run has it again"
