"""Programs and servers around schedules: a `crontab` that keeps one file, and a webhook."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

CRONTAB = """#!/bin/sh
file="$CRONTAB_FILE"
case "$1" in
-l) [ -f "$file" ] && exec cat "$file"; echo "no crontab for me" >&2; exit 1;;
-) exec cat > "$file";;
esac
"""


def add_crontab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a `crontab` program that comes first on the path from now on; no systemd answers."""
    program = folder / "bin/crontab"
    program.parent.mkdir(exist_ok=True)
    for name, text in (("crontab", CRONTAB), ("systemctl", "#!/bin/sh\nexit 1\n")):
        (program.parent / name).write_text(text)
        (program.parent / name).chmod(0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CRONTAB_FILE", str(folder / "tab"))
    return folder / "tab"


class Hook(ThreadingHTTPServer):
    """Answers with the given statuses, the last for ever, and keeps what it was sent."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.statuses, self.got = list(statuses), list[tuple[str, bytes]]()
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        more = len(self.server.statuses) > 1
        self.send_response(self.server.statuses.pop(0) if more else self.server.statuses[0])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
