"""Another machine for the tests: a real sshd on loopback with keys of its own, and links to it that break."""

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
ASSAY = Path(sys.executable).with_name("assay")  # what a command over ssh would not find by itself
# Relays between ssh and the server, until the server has sent, or ssh has sent, so many bytes.
_CUT = """
import os, select, socket, sys
port, side, left = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
server = socket.create_connection(("127.0.0.1", port))
while True:
    for ready in select.select([0, server], [], [])[0]:
        block = os.read(0, 1 << 16) if ready == 0 else server.recv(1 << 16)
        if not block:
            sys.exit()
        if (ready == 0) == (side == "push"):
            left -= len(block)
        if left < 0:
            sys.exit()
        server.sendall(block) if ready == 0 else os.write(1, block)
"""


@dataclass(frozen=True)
class Box:
    """A machine that ssh knows as "box"."""

    folder: Path
    port: int

    def ssh(self, *options: str) -> str:
        """What $ASSAY_SSH has to be."""
        return shlex.join(["ssh", "-F", str(self.folder / "ssh_config"), *options])

    def cut(self, side: str, after: int) -> str:
        """The same over a link that breaks when the sender of a pull or a push has sent so many bytes."""
        relay = shlex.join([sys.executable, "-c", _CUT, str(self.port), side, str(after)])
        return self.ssh("-o", f"ProxyCommand={relay.replace('%', '%%')}")


@contextmanager
def running(folder: Path) -> Iterator[Box]:
    """The machine, until the block ends."""
    assert SSHD is not None
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, timeout=60
        )
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nUsePAM no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    known = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}")
    (folder / "ssh_config").write_text(
        f"Host box\n HostName 127.0.0.1\n Port {port}\n User {pwd.getpwuid(os.getuid()).pw_name}\n"
        f" IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known_hosts\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # what a root's sshd wants to shut its children into
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        while True:
            assert server.poll() is None, (folder / "sshd.log").read_text()
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield Box(folder, port)
    finally:
        server.terminate()
        server.wait()
