"""What a killed session of the tests leaves in memory goes with the next one."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import FOLDERS, own, remove_abandoned

OWNER = """
import sys, time
from pathlib import Path
from tests.conftest import own
lock = own(Path(sys.argv[1]))
print("owned", flush=True)
time.sleep(600)
"""


def test_folders_whose_session_was_killed_are_removed_and_no_others(tmp_path: Path) -> None:
    killed, running, foreign, unmarked = (
        tmp_path / name for name in (f"{FOLDERS}killed", f"{FOLDERS}running", "other", f"{FOLDERS}unmarked")
    )
    for folder in (killed, running, foreign, unmarked):
        folder.mkdir()
    session = subprocess.Popen([sys.executable, "-c", OWNER, str(killed)], stdout=subprocess.PIPE, text=True)
    assert session.stdout is not None and session.stdout.readline() == "owned\n"
    with own(running):
        remove_abandoned(tmp_path)
        assert killed.exists() and running.exists()
        session.kill()
        session.wait()
        session.stdout.close()
        remove_abandoned(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([running, foreign, unmarked])
