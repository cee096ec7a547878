import getpass
import os
import subprocess
import sys

import pytest

from store.people import user_name


def test_a_user_is_known_by_name() -> None:
    assert user_name() == getpass.getuser()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without an entry")
def test_a_user_without_an_entry_is_known_by_number() -> None:
    code = (
        "import os\nfrom store.people import user_name\n"
        "for name in ('LOGNAME', 'USER', 'LNAME', 'USERNAME'):\n    os.environ.pop(name, None)\n"
        "os.setuid(54321)\nprint(user_name())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "user 54321"
