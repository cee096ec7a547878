"""Who works here, as far as the machine knows: its own file, since the first frame asks."""

import getpass
import os


def user_name() -> str:
    """The user's name in the environment or the machine's user database, else the user's number.

    In a container the number often has no entry there, and `getpass.getuser` then fails.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
