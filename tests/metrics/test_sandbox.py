# ruff: noqa: E501  a program to a line
"""Programs that try to escape, to hang or to pass without solving anything; and ones that only do their work."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.sandbox.jail import FILTER, ProgramLimits
from engine.sandbox.sandbox import Job, Outcome, Sandbox

QUICK = ProgramLimits(cpu_s=1, wall_s=20.0, memory=256 << 20, processes=8)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(QUICK, workers=2) as made:
        if made.run(Job("", "")).isolation is None:
            pytest.skip("this kernel gives no namespaces here")
        yield made


def told(sandbox: Sandbox, program: str) -> Outcome:
    """Runs a program that looks at its surroundings; what it saw stands in the failed test's reason."""
    return sandbox.run(Job(program, "raise ValueError(seen())"))


class TestHonestPrograms:
    @pytest.mark.parametrize(
        ("program", "tests"),
        [
            ("def f(x): return x + 1", "assert f(1) == 2"),
            ("def f(x): return (x, [x], {x: {x}})", "assert f(1) == (1, [1], {1: {1}})"),
            ("def f(): return 10**5000, b'\\xff', 1 + 2j, None, -0.5", "assert f()[0] == 10**5000"),
            ("def f(items): items.sort()", "items = [3, 1]\nf(items)\nassert items == [1, 3]"),
            ("def f(g, x): return g(g(x))", "assert f(lambda x: x * 2, 3) == 12"),
            ("def f(x):\n  if x < 0: raise ValueError('no')", "try: f(-1); assert 0\nexcept ValueError: pass"),
            ("def f():\n  yield from (1, 2)", "assert list(f()) == [1, 2]"),
            ("def f(): return iter('ab')", "assert ''.join(f()) == 'ab'"),
            (
                "class Node:\n  def __init__(self, x): self.x = x; self.left = None\n"
                "def depth(n): return 0 if n is None else 1 + depth(n.left)",
                "root = Node(1)\nroot.left = Node(2)\nassert depth(root) == 2 and root.left.x == 2",
            ),
            ("class Stack(list):\n  pass\ndef f(): return Stack([1])", "assert f() == [1]"),
            ("from collections import Counter\ndef f(s): return Counter(s)", "assert f('aab') == {'a': 2, 'b': 1}"),
            ("from collections import namedtuple\ndef f(): return namedtuple('P', 'x y')(1, 2)", "assert f() == (1, 2)"),
            ("from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int", "assert P(1) == P(1) and P(1) != P(2)"),
            ("class Odd(Exception): pass\ndef f(): raise Odd('x')", "try: f(); assert 0\nexcept Odd: pass"),
            ("def f(x, kind): return isinstance(x, kind)", "assert f(3, int) and not f('3', int)"),
            ("def f(): return int", "assert f() is int"),
            ("import datetime\ndef f(d): return d + datetime.timedelta(days=1)", "import datetime\nassert f(datetime.date(2020, 1, 31)) == datetime.date(2020, 2, 1)"),
            ("from datetime import *\ndef f(): return datetime(2020, 1, 2, 3, tzinfo=timezone.utc)", "from datetime import *\nassert f() == datetime(2020, 1, 2, 3, tzinfo=timezone.utc)"),
            ("def f(d):\n  d['a'] += 1\n  d['b'] += 2", "from collections import defaultdict\nd = defaultdict(int)\nf(d)\nassert d == {'a': 1, 'b': 2} and d['c'] == 0"),
            ("def f(d): return d['x']", "from collections import defaultdict\nassert f(defaultdict(lambda: 7)) == 7"),
            ("def f(c): return c.most_common(1)", "from collections import Counter\nassert f(Counter('aab')) == [('a', 2)]"),
            ("def f(d): d.move_to_end('a')", "from collections import OrderedDict\nd = OrderedDict(a=1, b=2)\nf(d)\nassert list(d) == ['b', 'a']"),
            ("def f(r): return range(r.start, r.stop, 2)", "assert f(range(1, 6)) == range(1, 6, 2)"),
            ("def f(fh): return fh.read().upper()", "import io\nassert f(io.StringIO('a')) == 'A'"),
            ("def f(out): out.write('x')", "import io\nout = io.StringIO()\nf(out)\nassert out.getvalue() == 'x'"),
            ("import math\ndef f(x): return math.sqrt(x)", "assert math.isclose(f(2) ** 2, 2)"),
            ("def sum(a, b): return a + b", "assert sum(1, 2) == 3"),
            ("print('noise')\ndef f(): print('more'); return 1", "assert f() == 1"),
            ("def f():\n  open('/tmp/x', 'w').write('kept'); return open('/tmp/x').read()", "assert f() == 'kept'"),
            ("import sqlite3, hashlib, decimal, json, re, heapq, itertools\ndef f(): return 1", "assert f() == 1"),
        ],
    )  # fmt: skip
    def test_pass(self, sandbox: Sandbox, program: str, tests: str) -> None:
        outcome = sandbox.run(Job(program, tests))
        assert (outcome.passed, outcome.reason) == (True, None)

    def test_a_wrong_answer_fails_with_the_test_that_it_failed(self, sandbox: Sandbox) -> None:
        outcome = sandbox.run(Job("def f(x): return x", "assert f(1) == 1\nassert f(2) == 3"))
        assert outcome.passed is False
        assert outcome.reason == "AssertionError, at: assert f(2) == 3"

    @pytest.mark.parametrize(
        "program", ["def f(:", "raise ValueError('x')", "1/0", "import nothing", "\0", "\ud800"]
    )
    def test_a_broken_program_fails(self, sandbox: Sandbox, program: str) -> None:
        assert sandbox.run(Job(program, "")).passed is False

    def test_broken_tests_say_nothing_about_the_program(self, sandbox: Sandbox) -> None:
        outcome = sandbox.run(Job("def f(): return 1", "assert f( == 1"))
        assert outcome.passed is None
        assert "the tests are not valid Python" in str(outcome.reason)

    def test_many_jobs_keep_their_order(self, sandbox: Sandbox) -> None:
        jobs = [Job(f"def f(): return {place % 3}", "assert f() == 0") for place in range(12)]
        assert [outcome.passed for outcome in sandbox.run_all(jobs)] == [
            place % 3 == 0 for place in range(12)
        ]

    def test_large_tests_arrive_whole(self, sandbox: Sandbox) -> None:
        tests = "\n".join(f"assert f({place}) == {place + 1}  # {'x' * 500}" for place in range(1_000))
        assert sandbox.run(Job("def f(x): return x + 1", tests)).passed is True


class TestFalsePasses:
    """None of these solves anything, so none may pass."""

    TESTS = "assert f(2) == 4\nassert f(3) == 9"

    @pytest.mark.parametrize(
        "program",
        [
            "import os\nos._exit(0)",
            "import sys\nsys.exit(0)",
            "raise SystemExit(0)",
            "import os\ndef f(x): os._exit(0)",
            "def f(x): raise SystemExit(0)",
            "def f(x): raise KeyboardInterrupt",
            "class Yes:\n  def __eq__(self, other): return True\ndef f(x): return Yes()",
            "class Yes(int):\n  def __eq__(self, other): return True\ndef f(x): return Yes(1)",
            "class Yes(list):\n  def __eq__(self, other): return True\ndef f(x): return Yes()",
            "import builtins\nbuiltins.AssertionError = None\ndef f(x): return 0",
            "import builtins\nbuiltins.__dict__['__build_class__'] = None\ndef f(x): return 0",
            "import sys\nsys.modules['__main__'].check = lambda *a: (True, None)\ndef f(x): return 0",
            "import engine.sandbox.checker as c\nc.check = lambda *a: (True, None)\ndef f(x): return 0",
            "def f(x): return None\nimport sys\nsys.excepthook = lambda *a: None\nsys.settrace(lambda *a: None)",
            "print('{\"passed\": true}')\ndef f(x): return 0",
            # Every descriptor gets every message that might mean a pass.
            "import os, json, struct\nfor fd in range(64):\n  for m in ([True, None], ['ready', {}], ['done', True, []],"
            " {'passed': True, 'reason': None, 'isolation': 'namespaces'}):\n"
            "    b = json.dumps(m).encode()\n    try: os.write(fd, struct.pack('>I', len(b)) + b)\n"
            "    except OSError: pass",
            "import os\nfor fd in range(64):\n  try: os.write(fd, b'\\xff' * 100)\n  except OSError: pass",
            "import os\nfor fd in range(64):\n  try: os.close(fd)\n  except OSError: pass\ndef f(x): return x * x",
            "import os\nif os.fork(): os._exit(0)\ndef f(x): return 0",
        ],
    )  # fmt: skip
    def test_do_not_count(self, sandbox: Sandbox, program: str) -> None:
        outcome = sandbox.run(Job(program, self.TESTS))
        assert outcome.passed is False, outcome
        assert outcome.reason

    @pytest.mark.parametrize("write", ["sys.stderr.write(text)", "os.write(2, text.encode())"])
    def test_a_flood_of_errors_neither_stops_a_program_nor_is_kept(
        self, sandbox: Sandbox, write: str
    ) -> None:
        program = f"import os, sys\ntext = 'out of ideas\\n' * 400_000\ndef f(x): {write}; return x * x"
        outcome = sandbox.run(Job(program, "assert f(3) == 9"))
        assert outcome.passed is True, outcome
        assert outcome.stderr.startswith("out of ideas\n") and len(outcome.stderr) == 2000

    def test_what_a_program_writes_as_it_ends_is_kept(self, sandbox: Sandbox) -> None:
        program = (
            "import os, sys\nprint('no\\xff memory', file=sys.stderr)\nos.write(2, b'\\xff')\nos._exit(3)"
        )
        outcome = sandbox.run(Job(program, "assert f(3) == 9"))
        assert (outcome.passed, outcome.stderr) == (False, "noÿ memory\n�")
        assert sandbox.run(Job("def f(x): return 9", "assert f(3) == 9")).stderr == ""

    def test_a_hidden_builtin_is_not_the_tests_builtin(self, sandbox: Sandbox) -> None:
        program = "def abs(x): return 0\ndef f(x): return 99"
        assert sandbox.run(Job(program, "assert abs(f(2) - 4) < 1")).passed is False

    def test_a_replaced_library_function_is_not_the_tests_own(self, sandbox: Sandbox) -> None:
        program = "import math\nmath.isclose = lambda *a, **k: True\ndef f(x): return 99"
        assert sandbox.run(Job(program, "import math\nassert math.isclose(f(2), 4)")).passed is False

    def test_the_tests_are_not_in_the_programs_memory(self, sandbox: Sandbox) -> None:
        program = (
            "import gc, sys\n"
            "def seen():\n"
            "    frame, texts = sys._getframe(), []\n"
            "    while frame:\n"
            "        texts.append(repr(frame.f_locals) + repr(list(frame.f_globals)))\n"
            "        frame = frame.f_back\n"
            "    texts += [o for o in gc.get_objects() if isinstance(o, str)]\n"
            "    return any('needle-' + 'in-the-tests' in t for t in texts)"
        )
        tests = "secret = 'needle-in-the-tests'\nassert seen() is False"
        assert sandbox.run(Job(program, tests)).passed is True


class TestLimits:
    @pytest.mark.parametrize(
        ("program", "why"),
        [
            ("while True: pass", "CPU time"),
            ("def f():\n  while True: pass", "CPU time"),
            ("while True: print('x' * 1000)", "CPU time"),
            ("x = []\nwhile True: x.append('y' * 10**6)", "MemoryError"),
            ("import sys\nsys.setrecursionlimit(10**9)\ndef g(): return g()\ng()", ""),
            ("def f():\n  x = []\n  x.append(x)\n  return x", "nested too deeply"),
        ],
    )
    def test_what_never_ends_is_ended(self, sandbox: Sandbox, program: str, why: str) -> None:
        outcome = sandbox.run(Job(program, "assert f() == 1"))
        assert outcome.passed is False
        assert why in str(outcome.reason)

    def test_a_program_that_only_waits_is_ended_by_wall_time(self) -> None:
        begun = time.monotonic()
        with Sandbox(ProgramLimits(wall_s=1.0)) as sandbox:
            outcome = sandbox.run(Job("import time\ntime.sleep(600)", ""))
        assert (outcome.passed, outcome.reason) == (False, "not finished after 1 s")
        assert time.monotonic() - begun < 600

    def test_a_fork_bomb_stays_small_and_leaves_nothing(self, sandbox: Sandbox) -> None:
        marker = f"bomb-{os.getpid()}"
        program = (
            "import os, ctypes, time\n"
            f"ctypes.CDLL(None).prctl(15, b'{marker[:15]}', 0, 0, 0)\n"
            "made = 0\n"
            "for _ in range(1000):\n"
            "    try:\n"
            "        if os.fork() == 0: time.sleep(600)\n"
            "        made += 1\n"
            "    except OSError: break\n"
            "def seen(): return made\n"
        )
        outcome = told(sandbox, program)
        made = int(str(outcome.reason).split()[1].rstrip(","))
        assert 0 < made < QUICK.processes
        assert not any(_name_of(process) == marker[:15] for process in _processes())

    def test_an_endless_fork_bomb_ends(self, sandbox: Sandbox) -> None:
        program = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
        with Sandbox(ProgramLimits(wall_s=2.0, processes=8)) as short:
            assert short.run(Job(program, "assert f()")).passed is False
        assert sandbox.run(Job("def f(): return 1", "assert f()")).passed is True

    def test_the_disk_cannot_be_filled(self, sandbox: Sandbox) -> None:
        program = (
            "import os\n"
            "def seen():\n"
            "    total = 0\n"
            "    for n in range(100):\n"
            "        try:\n"
            "            with open(f'/tmp/{n}', 'wb', buffering=0) as f:\n"
            "                while True: total += f.write(b'x' * 65536)\n"
            "        except OSError: pass\n"
            "    return total\n"
        )
        written = int(str(told(sandbox, program).reason).split()[1].rstrip(","))
        assert 0 < written <= 16 << 20
        assert "0, at" in str(told(sandbox, "import os\ndef seen(): return len(os.listdir('/tmp'))").reason)


UNITTEST = (
    "import unittest\nclass T(unittest.TestCase):\n  def test_a(self):\n    self.assertEqual(add(1, 2), 3)\n"
)
SHAPES = [
    UNITTEST,
    UNITTEST + "unittest.main()",
    UNITTEST + "if __name__ == '__main__': unittest.main()",
    UNITTEST
    + "r = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))\nassert r.wasSuccessful()",
    "from unittest import TestCase, main\nclass T(TestCase):\n  def setUp(self): self.n = 3\n  def test_a(self):\n    with self.subTest(): self.assertEqual(add(1, 2), self.n)\nmain()",
    "def test_add():\n  assert add(1, 2) == 3",
    "def test_add():\n  assert add(1, 2) == 3\ntest_add()",
    "def check(candidate):\n  assert candidate(1, 2) == 3",
    "if add(1, 2) != 3: raise AssertionError",
    "try: assert add(1, 2) == 3\nexcept ZeroDivisionError: pass",
]
VACUOUS = [
    "",
    "add(1, 2)",
    "def verify():\n  assert add(1, 2) == 3",
    "for x in []:\n  assert x",
    "class Plain:\n  def test_a(self): assert add(1, 2) == 3",
]


class TestShapesOfTests:
    @pytest.mark.parametrize("tests", SHAPES)
    def test_what_the_tests_define_is_run_and_decides(self, sandbox: Sandbox, tests: str) -> None:
        assert sandbox.run(Job("def add(a, b): return a + b", tests)).passed is True
        assert sandbox.run(Job("def add(a, b): return 'garbage'", tests)).passed is False

    @pytest.mark.parametrize("tests", VACUOUS)
    def test_tests_that_run_no_assertion_decide_nothing(self, sandbox: Sandbox, tests: str) -> None:
        outcome = sandbox.run(Job("def add(a, b): return a + b", tests))
        assert (outcome.passed, outcome.reason) == (None, "no assertion ran")

    def test_tests_that_need_an_absent_package_decide_nothing(self, sandbox: Sandbox) -> None:
        outcome = sandbox.run(Job("def f(): return 1", "import numpy\nassert f() == 1"))
        assert outcome.passed is None
        assert "a package that is not in the sandbox" in str(outcome.reason)

    def test_neither_does_a_program_that_needs_the_same_package(self, sandbox: Sandbox) -> None:
        outcome = sandbox.run(Job("import numpy\ndef f(): return 1", "import numpy\nassert f() == 1"))
        assert outcome.passed is None and "the tests need a package" in str(outcome.reason)

    def test_a_program_that_needs_an_absent_package_fails_and_says_so(self, sandbox: Sandbox) -> None:
        outcome = sandbox.run(Job("def f():\n  import numpy", "f()\nassert True"))
        assert outcome.passed is False and "the program imports a package" in str(outcome.reason)

    @pytest.mark.parametrize(
        "imported",
        ["from solution import add", "import solution\nadd = solution.add", "from sums import add as add",
         "from solution import *", "from __main__ import add"],
    )  # fmt: skip
    def test_imports_of_the_program_are_its_names(self, sandbox: Sandbox, imported: str) -> None:
        assert sandbox.run(Job("def add(a, b): return a + b", f"{imported}\nassert add(1, 2) == 3")).passed
        assert (
            sandbox.run(Job("def add(a, b): return 0", f"{imported}\nassert add(1, 2) == 3")).passed is False
        )

    @pytest.mark.parametrize(
        "tests",
        [
            "import sys, io\nsys.stdin = io.StringIO('3')\nassert f() == 3",
            "from unittest.mock import patch\nwith patch('builtins.input', return_value='3'): assert f() == 3",
            "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as out: f()\nassert out.getvalue()",
            "import subprocess\nassert subprocess.run(['python', 'solution.py']).returncode == 0",
        ],
    )
    @pytest.mark.parametrize(
        "program", ["def f(): return int(input())", "def f(): return 3", "def f(): return 4", "def f(:"]
    )
    def test_tests_of_standard_input_and_output_decide_nothing_of_any_program(
        self, sandbox: Sandbox, tests: str, program: str
    ) -> None:
        outcome = sandbox.run(Job(program, tests))
        assert outcome.passed is None and "standard input or output" in str(outcome.reason)

    @pytest.mark.parametrize("program", ["def f(): return 1", "def f(): return 2", "def f(:"])
    @pytest.mark.parametrize(
        ("tests", "why"),
        [
            ("def test_f():\n  assert f() == 1\n  import numpy\n  assert numpy.array(f()) == 1", "numpy"),
            ("import asyncio\nassert f\nassert asyncio.run(f()) == 1", "cannot be awaited"),
            (
                "import asyncio\nasync def main(): return await f()\nassert asyncio.run(main()) == 1",
                "awaited",
            ),
        ],
    )
    def test_what_the_tests_alone_lack_is_missing_for_every_program(
        self, sandbox: Sandbox, tests: str, why: str, program: str
    ) -> None:
        outcome = sandbox.run(Job(program, tests))
        assert outcome.passed is None and why in str(outcome.reason)

    def test_a_function_of_the_tests_imports_the_program(self, sandbox: Sandbox) -> None:
        tests = "def test_add():\n  from solution import add\n  assert add(1, 2) == 3"
        assert sandbox.run(Job("def add(a, b): return a + b", tests)).passed
        assert sandbox.run(Job("def add(a, b): return 0", tests)).passed is False
        assert sandbox.run(Job("def plus(a, b): return a + b", tests)).passed is False
        tried = "try:\n  import numpy\nexcept ImportError:\n  numpy = None\nassert add(1, 2) == 3"
        assert sandbox.run(Job("def add(a, b): return a + b", tried)).passed


class TestEscapes:
    def test_the_environment_and_the_arguments_are_empty(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        with Sandbox(QUICK, workers=1) as fresh:
            outcome = told(fresh, "import os\ndef seen(): return dict(os.environ)")
        assert outcome.passed is False
        assert "secret" not in str(outcome.reason)
        assert "KEY" not in str(outcome.reason)

    @pytest.mark.parametrize(
        "path",
        ["/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/home", "/root", "/sys", "/var", "/usr/bin",
         "/etc", str(Path.home()), str(Path(__file__)), sys.executable],
    )  # fmt: skip
    def test_the_machines_files_are_not_there(self, sandbox: Sandbox, path: str) -> None:
        program = f"import os\ndef seen(): return os.path.isfile({path!r}) or (os.path.isdir({path!r}) and os.listdir({path!r}))"
        reason = str(told(sandbox, program).reason)
        # A folder may exist as the way to Python's library, and then shows nothing else.
        library = Path(sys.base_prefix, "lib")
        allowed = [part.name for part in library.parents if part.parent == Path(path)] + [library.name]
        assert "False" in reason or any(f"['{name}']" in reason for name in allowed), reason

    @pytest.mark.parametrize("folder", ["/", "/dev", "/usr/lib", sys.base_prefix + "/lib"])
    def test_nothing_but_the_scratch_folder_can_be_written_to(self, sandbox: Sandbox, folder: str) -> None:
        outcome = told(sandbox, f"def seen():\n  open({folder!r} + '/x', 'w')")
        assert str(outcome.reason).startswith(("OSError", "PermissionError"))

    def test_no_network(self, sandbox: Sandbox) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0)
            port = server.getsockname()[1]
            program = (
                "import socket\n"
                "def seen():\n"
                "    hits = 0\n"
                f"    for place in (('127.0.0.1', {port}), ('8.8.8.8', 53)):\n"
                "        try: socket.create_connection(place, 1); hits += 1\n"
                "        except OSError: pass\n"
                "    return hits"
            )
            assert "ValueError: 0" in str(told(sandbox, program).reason)
            with pytest.raises(BlockingIOError):
                server.accept()

    def test_it_can_signal_and_trace_nobody(self, sandbox: Sandbox) -> None:
        victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        program = (
            "import os, ctypes\n"
            "def seen():\n"
            "    reached = [os.getppid()] * (os.getppid() != 0)\n"
            f"    for pid in [*range(2, 400), {victim.pid}, {os.getpid()}]:\n"
            "        if ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0: reached.append(pid)\n"
            "        try: os.kill(pid, 9); reached.append(pid)\n"
            "        except OSError: pass\n"
            "    try: os.kill(-1, 9)\n"
            "    except OSError: pass\n"
            "    return reached"
        )
        assert "ValueError: []" in str(told(sandbox, program).reason)
        assert victim.poll() is None
        victim.communicate(b"\n")

    def test_no_rights_and_no_way_to_new_ones(self, sandbox: Sandbox) -> None:
        program = (
            "import ctypes, os\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "def seen():\n"
            "    gained = [flag for flag in (0x20000, 0x10000000, 0x10020000, 0x40000000) if libc.unshare(flag) == 0]\n"
            "    gained += ['mount'] * (libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0)\n"
            "    gained += ['chroot'] * (libc.chroot(b'/tmp') == 0)\n"
            "    for set_id in (os.setuid, os.setgid):\n"
            "        try: set_id(0); gained.append('id')\n"
            "        except OSError: pass\n"
            "    return gained"
        )
        assert "ValueError: []" in str(told(sandbox, program).reason)

    def test_one_program_leaves_nothing_for_the_next(self, sandbox: Sandbox) -> None:
        first = "import builtins\nbuiltins.left = 1\nopen('/tmp/left', 'w').write('x')"
        assert sandbox.run(Job(first, "assert True")).passed is True
        then = "import builtins, os\ndef seen(): return [hasattr(builtins, 'left'), os.listdir('/tmp')]"
        assert "[False, []]" in str(told(sandbox, then).reason)

    def test_a_killed_worker_is_replaced(self, sandbox: Sandbox) -> None:
        with Sandbox(QUICK, workers=1) as own:
            assert own.run(Job("", "assert True")).passed is True
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            for process in children:
                if b"engine.sandbox" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(int(process), signal.SIGKILL)
            outcomes = [own.run(Job("", "assert True")) for _ in range(2)]
        assert outcomes[0].passed is None
        assert outcomes[1].passed is True


CHILDREN = (
    "import os, time\n"
    "def f():\n"
    "  for n in range(6):\n"
    "    if os.fork() == 0:\n"
    "      {take}\n"
    "      time.sleep(600)\n"
    "  time.sleep(600)"
)


class TestWithoutNamespaces:
    """As where a container's policy forbids them: the call that asks for them is refused."""

    SCRIPT = (
        "import ctypes, os, sys\n"
        "from engine.sandbox import jail\n"
        "def refuse(): raise PermissionError(1, 'Operation not permitted')\n"
        "jail.enter_namespaces = refuse\n"
        "jail.main()"
    )

    @pytest.fixture()
    def refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        root = str(Path(__file__).parents[2])
        monkeypatch.setattr(
            "engine.sandbox.sandbox._START", f"import sys; sys.path.insert(0, {root!r})\n" + self.SCRIPT
        )

    def test_nothing_is_executed_unless_the_user_opted_in(self, refused: None) -> None:
        with Sandbox(QUICK) as sandbox:
            outcome = sandbox.run(Job("def f(): return 1", "assert f() == 1"))
        assert (outcome.passed, outcome.isolation) == (None, None)
        assert "allow_weak" in str(outcome.reason)

    def test_the_weak_level_is_named_and_still_limits(
        self, refused: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        with Sandbox(QUICK, allow_weak=True) as sandbox:
            right = sandbox.run(Job("def f(): return 1", "assert f() == 1"))
            assert right.passed is True
            assert str(right.isolation).startswith("process only")
            assert sandbox.run(Job("import os\nos._exit(0)", "assert f() == 1")).passed is False
            assert "CPU time" in str(sandbox.run(Job("while True: pass", "")).reason)
            environment = told(sandbox, "import os\ndef seen(): return dict(os.environ)")
            assert "secret" not in str(environment.reason)
            if FILTER in str(right.isolation):
                network = told(sandbox, "import socket\ndef seen(): socket.socket()")
                assert str(network.reason).startswith("OSError")
                outcome = sandbox.run(Job(CHILDREN.format(take="held = b'x' * (60 << 20)"), "assert f()"))
                assert outcome.reason == "its processes used more than 256 MiB of memory in all"

    def test_what_a_weak_program_left_running_is_ended(self, refused: None, tmp_path: Path) -> None:
        marker = f"weak-{os.getpid()}"[:15]
        program = (
            "import os, ctypes, time\n"
            f"ctypes.CDLL(None).prctl(15, b'{marker}', 0, 0, 0)\n"
            "if os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\n"
            "def f(): return 1"
        )
        with Sandbox(ProgramLimits(processes=4000), allow_weak=True) as sandbox:
            assert sandbox.run(Job(program, "assert f() == 1")).passed is True
            assert not any(_name_of(process) == marker for process in _processes())


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""
