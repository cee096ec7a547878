# ruff: noqa: E501  a program to a line
"""Attacks on what the kernel keeps from a program: its memory in all, system calls, keys, shared memory."""

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.sandbox.jail import FILTER, GROUP, KEYRING, NAMESPACES, OVER_SHARE, SUM, ProgramLimits
from engine.sandbox.limits import ALLOWED, ALLOWED_FOR, leave_keyring
from engine.sandbox.sandbox import Job, Outcome, Sandbox
from tests.metrics.test_sandbox import CHILDREN

LIMITS = ProgramLimits(cpu_s=10, wall_s=60.0, memory=160 << 20, processes=12)
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=2) as made:
        outcome = made.run(Job("", ""))
        if FILTER not in str(outcome.isolation):
            pytest.skip(f"no namespaces or no filter here: {outcome}")
        yield made


def seen(sandbox: Sandbox, program: str) -> str:
    """What the program's `seen()` returned."""
    outcome = sandbox.run(Job(program, "assert seen() == 'nothing', seen()"))
    return str(outcome.reason)


def test_what_held_is_named(sandbox: Sandbox) -> None:
    held = str(sandbox.run(Job("def f(): return 1", "assert f() == 1")).isolation).split(", ")
    assert held[:2] == [NAMESPACES, FILTER]
    assert held[-1] in {GROUP, SUM}
    assert set(held) <= {NAMESPACES, FILTER, KEYRING, GROUP, SUM}


class TestMemory:
    @pytest.mark.parametrize(
        "take",
        [
            "held = b'x' * (60 << 20)",
            "held = __import__('mmap').mmap(-1, 60 << 20)\n      held.write(b'x' * (60 << 20))",
            "held = [bytearray(b'x' * 4096) for _ in range(15_000)]",
        ],
    )
    def test_many_children_have_no_more_than_one_process(self, sandbox: Sandbox, take: str) -> None:
        outcome = sandbox.run(Job(CHILDREN.format(take=take), "assert f()"))
        assert outcome.passed is False
        assert outcome.reason == "its processes used more than 160 MiB of memory in all"

    def test_children_that_only_read_their_parents_memory_take_none(self, sandbox: Sandbox) -> None:
        if os.geteuid() != 0:
            pytest.skip("an ordinary user is not told which pages are shared, so each process counts them")
        program = (
            "import os, time\n"
            "def f():\n"
            "  held = b'x' * (60 << 20)\n"
            "  for n in range(6):\n"
            "    if os.fork() == 0: time.sleep(600)\n"
            "  time.sleep(0.3)\n"
            "  return len(held)"
        )
        assert sandbox.run(Job(program, f"assert f() == {60 << 20}")).passed is True

    def test_a_program_beyond_its_share_runs_alone_with_all_of_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its outcome must not depend on what runs beside it."""
        running: list[int] = []
        alone: list[list[int]] = []
        with Sandbox(ProgramLimits(memory=256 << 20), workers=8) as sandbox:

            def run(job: Job, share: int) -> Outcome:
                running.append(share)
                assert sum(running) <= 256 << 20
                if share == 256 << 20:
                    alone.append(list(running))
                running.remove(share)
                return Outcome(None, OVER_SHARE, None) if share < 256 << 20 else Outcome(True, None, None)

            monkeypatch.setattr(sandbox, "_run", run)
            outcomes = list(sandbox.run_all(Job("", "") for _ in range(40)))
        assert outcomes == [Outcome(True, None, None)] * 40
        assert alone == [[256 << 20]] * 40

    def test_an_honest_program_of_more_than_a_share_passes(self, sandbox: Sandbox) -> None:
        program = "import time\ndef f():\n  held = b'x' * (100 << 20)\n  time.sleep(0.2)\n  return len(held)"
        outcomes = sandbox.run_all([Job(program, f"assert f() == {100 << 20}")] * 2)
        assert [outcome.passed for outcome in outcomes] == [True, True]

    @pytest.mark.parametrize(
        ("call", "error"),
        [
            ("from multiprocessing.shared_memory import SharedMemory as S\n  S(create=True, size=1 << 20)", "FileNotFoundError|OSError"),
            ("open('/dev/shm/x', 'wb')", "FileNotFoundError"),
            ("os.memfd_create('x')", "OSError"),
            ("import multiprocessing\n  multiprocessing.Value('i')", "FileNotFoundError|OSError"),
        ],
    )  # fmt: skip
    def test_shared_memory_is_closed(self, sandbox: Sandbox, call: str, error: str) -> None:
        assert re.match(error, seen(sandbox, f"import os\ndef seen():\n  {call}"))


class TestSystemCalls:
    @X86
    def test_every_call_that_is_not_allowed_is_as_if_it_did_not_exist(self, sandbox: Sandbox) -> None:
        """shmget, msgget, keyctl, ptrace, bpf, io_uring, mount, unshare, socket, execve and all others."""
        allowed = {int(call.split()[1]) for call in [*ALLOWED.split(","), *ALLOWED_FOR]}
        assert not allowed & {29, 30, 41, 59, 64, 68, 101, 165, 248, 250, 272, 308, 310, 321, 323, 425, 435}
        allowed |= {335, 336}  # the kernel's own: of a probe's trampoline, never filtered
        refused = [*sorted(set(range(600)) - allowed), 0x40000000 + 39, 0x40000000 + 520]
        program = (
            "import ctypes, errno\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "def seen():\n"
            "  made = []\n"
            f"  for number in {refused}:\n"
            "    ctypes.set_errno(0)\n"
            "    if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.ENOSYS:\n"
            "      made.append((number, ctypes.get_errno()))\n"
            "  return made or 'nothing'"
        )
        assert seen(sandbox, program) == "None"

    @X86
    @pytest.mark.parametrize(
        "call",
        [
            "56, 0x10000000 | 17, 0, 0, 0, 0",  # clone with a user namespace
            "56, 0x00020000 | 17, 0, 0, 0, 0",
            "16, 0, 0x5412, b'x'",  # ioctl: text into a terminal
            "157, 4, 1, 0, 0, 0",  # prctl: dumpable again
            "157, 1, 0, 0, 0, 0",  # prctl: to outlive the parent
            "157, 22, 1, 0, 0, 0",
            "53, 2, 1, 0, ctypes.create_string_buffer(8)",  # a pair of internet sockets
            "53, 16, 3, 0, ctypes.create_string_buffer(8)",
        ],
    )
    def test_allowed_calls_do_only_what_they_are_allowed_for(self, sandbox: Sandbox, call: str) -> None:
        program = (
            "import ctypes\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            f"def seen(): return 'nothing' if libc.syscall({call}) == -1 and ctypes.get_errno() == 1 else 'made'"
        )
        assert seen(sandbox, program) == "None"

    @X86
    def test_the_calls_of_a_32_bit_program_end_it(self, sandbox: Sandbox) -> None:
        program = (
            "import ctypes, mmap\n"
            "code = mmap.mmap(-1, 4096, prot=7)\n"
            "code.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))\n"  # getpid, by int 0x80
            "start = ctypes.addressof(ctypes.c_char.from_buffer(code))\n"
            "def seen(): return ctypes.CFUNCTYPE(ctypes.c_int)(start)()"
        )
        assert "a system call of another machine" in seen(sandbox, program)

    @pytest.mark.parametrize(
        "work",
        [
            "import asyncio\n  async def g(): await asyncio.sleep(0)\n  asyncio.run(g())",
            "import threading\n  t = threading.Thread(target=print); t.start(); t.join()",
            "import multiprocessing as m\n  a, b = m.Pipe()\n  p = m.get_context('fork').Process(target=b.send, args=(1,))\n  p.start(); a.recv(); p.join()",
            "import tempfile, shutil, os\n  with tempfile.TemporaryDirectory() as d:\n    open(d + '/a', 'w').write('x'); shutil.copy2(d + '/a', d + '/b'); os.rename(d + '/b', d + '/c')",
            "import signal, time\n  signal.signal(signal.SIGALRM, lambda *a: None)\n  signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()",
            "import sqlite3\n  c = sqlite3.connect('/tmp/x.db'); c.execute('create table t (x)'); c.commit()",
            "import ctypes\n  ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)()",
            "import mmap\n  f = open('/tmp/m', 'w+b'); f.write(b'x' * 4096); f.flush(); mmap.mmap(f.fileno(), 4096)[0]",
            "import selectors, os\n  r, w = os.pipe(); s = selectors.DefaultSelector(); s.register(r, 1); os.write(w, b'x'); s.select()",
            "import random, secrets, uuid, time, platform, os\n  secrets.token_hex(); uuid.uuid4(); time.sleep(0); platform.platform(); os.urandom(4); os.cpu_count()",
            "import concurrent.futures as c\n  list(c.ThreadPoolExecutor(2).map(abs, [1, 2]))",
            "import os, glob, pathlib\n  pathlib.Path('/tmp/d/e').mkdir(parents=True); os.walk('/tmp'); glob.glob('/tmp/**'); os.symlink('a', '/tmp/b'); os.readlink('/tmp/b'); os.chmod('/tmp/d', 0o700)",
        ],
    )  # fmt: skip
    def test_what_programs_do_by_right_still_works(self, sandbox: Sandbox, work: str) -> None:
        outcome = sandbox.run(Job(f"def f():\n  {work}\n  return 1", "assert f() == 1"))
        assert outcome.passed is True, outcome

    @pytest.mark.parametrize(
        ("column", "header"),
        [(1, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (2, "/usr/include/asm-generic/unistd.h")],
    )
    def test_the_numbers_are_the_kernels(self, column: int, header: str) -> None:
        if not Path(header).exists():
            pytest.skip("the kernel's headers are not installed")
        lines = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
        numbers = {"newfstatat": "79"} | dict(lines) if column == 2 else dict(lines)
        for call in [*ALLOWED.split(","), *ALLOWED_FOR]:
            name, number = call.split()[0], call.split()[column]
            assert number == "-" or numbers[name] == number, call


@X86
def test_the_sessions_keys_are_left_behind() -> None:
    """A key of the session that this process could read is out of its reach afterwards."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        search = (250, 10, -3, b"user", b"assay-test", 0)  # keyctl, KEYCTL_SEARCH, the session's keyring
        found = -1
        if leave_keyring() and libc.syscall(248, b"user", b"assay-test", b"secret", 6, -3) >= 0:
            found = libc.syscall(*search)
        state = 2 if found < 0 else int(not leave_keyring() or libc.syscall(*search) != -1)
        os._exit(state)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 2:
        pytest.skip("this kernel or a container's policy keeps keyrings to itself")
    assert code == 0
