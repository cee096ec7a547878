# ruff: noqa: E501  a program to a line
"""Programs that try to be judged right by anything but plain values, and right ones that look alike."""

from collections.abc import Iterator

import pytest

from engine.sandbox.jail import ProgramLimits
from engine.sandbox.sandbox import Job, Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(ProgramLimits(cpu_s=3, wall_s=30.0, memory=256 << 20, processes=8), workers=2) as made:
        if made.run(Job("", "")).isolation is None:
            pytest.skip("this kernel gives no namespaces here")
        yield made


NEAR = "assert abs(f(3) - 9) < 1e-6"
IN = "assert 'Ann' in f()"
EVERY = "class N:\n  def __init__(self, *a): pass\n  def op(self, *a): return 0\n  " + "\n  ".join(
    f"__{name}__ = op"
    for name in [
        "sub",
        "rsub",
        "add",
        "radd",
        "mul",
        "rmul",
        "abs",
        "truediv",
        "rtruediv",
        "floordiv",
        "mod",
        "pow",
        "neg",
        "xor",
        "and",
        "or",
        "getitem",
    ]
)
YES = "class N:\n  def op(self, *a): return True\n  " + "\n  ".join(
    f"__{name}__ = op" for name in ["eq", "ne", "lt", "le", "gt", "ge", "contains", "bool", "call", "and", "or"]
) + "\n  __hash__ = lambda self: 0\n  def __getattr__(self, name): return lambda *a, **k: True"  # fmt: skip
FRAMES = "import sys\ndef f(*a):\n  frame = sys._getframe()\n  while frame:\n    %s\n    frame = frame.f_back\n  return 0"
SEND = (
    "import os, json, struct\ndef tell(message):\n  body = json.dumps(message).encode()\n"
    "  for fd in range(3, 64):\n    try: os.write(fd, struct.pack('>I', len(body)) + body)\n    except OSError: pass\n"
)

FAKES = [
    # Operators and conversions of the program's own.
    (EVERY + "\ndef f(x): return N()", NEAR),
    (EVERY + "\ndef f(x): return N()", "assert (f(3) - 9) == 0"),
    (EVERY + "\ndef f(x): return N()", "assert 9 - f(3) == 0"),
    (EVERY + "\ndef f(x): return N()", "import math\nassert math.isclose(f(3) - 9, 0, abs_tol=1e-9)"),
    (EVERY + "\ndef f(x): return N()", "assert not f(3) ^ 9"),
    (EVERY.replace("class N", "class f"), NEAR),
    (EVERY + "\nclass Solution(N):\n  def f(self, x): return self", "assert abs(Solution().f(3) - 9) < 1e-6"),
    (EVERY + "\nclass Solution(N):\n  def f(self, x): return Solution()", "assert abs(Solution().f(3) - 9) < 1e-6"),
    ("class M(type):\n  def __sub__(self, x): return 0\n  def __call__(self, *a): return self\nclass f(metaclass=M): pass", NEAR),
    ("class M(type):\n  def __sub__(self, x): return 0\nclass Solution(metaclass=M):\n  def f(self, x): return Solution", "assert abs(Solution().f(3) - 9) < 1e-6"),
    ("class N(float):\n  def __sub__(self, x): return 0.0\n  __rsub__ = __sub__\ndef f(x): return N(1)", NEAR),
    ("class N(int):\n  def __abs__(self): return 0\n  def __sub__(self, x): return self\ndef f(x): return N(1)", NEAR),
    ("class N:\n  def __float__(self): return 9.5\ndef f(x): return N()", "assert round(float(f(3)), 3) == 9"),
    # Comparison.
    (YES + "\ndef f(*a): return N()", "assert f(3) == 9"),
    (YES + "\ndef f(*a): return N()", "assert 9 == f(3)"),
    (YES + "\ndef f(*a): return N()", "assert f(3) >= 9 and f(3) <= 9"),
    (YES + "\ndef f(*a): return N()", "assert f(3) in [9]"),
    (YES + "\ndef f(*a): return N()", "assert f(3) in {9: 1}"),
    (YES + "\ndef f(*a): return [N()]", "assert f(3) == [9]"),
    (YES + "\ndef f(*a): return {'a': N()}", "assert f(3) == {'a': 9}"),
    (YES + "\ndef f(*a): return N()", "assert f(3) == f(3) == 9"),
    (YES + "\ndef f(*a): return N()", "import unittest\nclass T(unittest.TestCase):\n  def test_a(self): self.assertEqual(f(3), 9)"),
    (YES + "\ndef f(*a): return N()", "import unittest\nclass T(unittest.TestCase):\n  def test_a(self): self.assertAlmostEqual(f(3), 9)"),
    ("class N(str):\n  def __eq__(self, x): return True\n  __hash__ = str.__hash__\ndef f(*a): return N('no')", "assert f(3) == 'Ann'"),
    ("class N(dict):\n  def __eq__(self, x): return True\n  def __getitem__(self, k): return 9\ndef f(*a): return N()", "assert f(3) == {'a': 9}"),
    ("class N(tuple):\n  def __eq__(self, x): return True\n  _fields = ()\ndef f(*a): return N()", "assert f(3) == (9,)"),
    # Methods of an answer that are told what is expected.
    (YES + "\ndef f(*a): return N()", IN),
    (YES + "\ndef f(*a): return N()", "assert f().startswith('Ann')"),
    (YES + "\ndef f(*a): return N()", "assert f().count('Ann')"),
    (YES + "\ndef f(*a): return N()", "assert f().issuperset({'Ann'})"),
    ("class N(list):\n  def __contains__(self, x): return True\ndef f(): return N()", IN),
    ("class M(type):\n  def startswith(self, x): return True\nclass N(metaclass=M): pass\ndef f(): return N", "assert f().startswith('Ann')"),
    # Iteration, exceptions, context managers.
    ("def f(x): raise StopIteration", "assert all(map(f, [1, 2]))"),
    ("def f(x): raise StopIteration", "assert all(f(x) == 9 for x in [3])"),
    ("def f(x): raise GeneratorExit", "assert all(map(f, [1, 2]))"),
    ("def f(x): raise AssertionError", "assert f(3) == 9"),
    ("import unittest\ndef f(x): raise unittest.SkipTest", "import unittest\nclass T(unittest.TestCase):\n  def test_a(self): self.assertEqual(f(3), 9)"),
    ("def f(x): raise KeyboardInterrupt", "assert f(3) == 9"),
    ("class C:\n  def __enter__(self): return self\n  def __exit__(self, *a): return True\ndef f(): return C()", "with f():\n  assert 1 == 2"),
    ("class E(Exception):\n  def __str__(self): raise SystemExit(0)\ndef f(x): raise E", "assert f(3) == 9"),
    # Names that the tests use.
    ("def abs(x): return 0", "def check(candidate):\n  assert abs(candidate(3) - 9) < 1e-6"),
    ("def sorted(x): return x\ndef f(x): return x", "assert f([2, 1]) == sorted([2, 1])"),
    ("class math:\n  isclose = staticmethod(lambda *a, **k: True)\ndef f(x): return 0", "assert math.isclose(f(3), 9)"),
    ("class unittest:\n  class TestCase:\n    def assertEqual(self, *a): pass\ndef f(x): return 0", "class T(unittest.TestCase):\n  def test_a(self): self.assertEqual(f(3), 9)"),
    ("_assay_ran = lambda: True\n_assay_entered = lambda *a: True\ndef f(x): return 0", "assert f(3) == 9"),
    (SEND + "tell(['ready', {'__builtins__': ['dict', []], '__name__': 'x', 'f': 9}])", "assert sorted([f(3)]) == [9]"),
    (SEND + "tell(['ready', {'__builtins__': ['dict', [['abs', ['object', [0, 'function']]]]]}])\ndef f(x): return 0", NEAR),
    (SEND + "def f(x): tell(['done', 9, [None]]); return 0\nimport atexit\natexit.register(f, 0)", "assert f(3) == 9\nassert f(3) == 8"),
    # Frames, gc, descriptors, signals, exits, children.
    (FRAMES % "frame.f_globals['__builtins__'] = {'abs': lambda x: 0}", NEAR),
    (FRAMES % "frame.f_globals.update(check=lambda *a: (True, None), AssertionError=None)", NEAR),
    ("import gc\nfor o in gc.get_objects():\n  if isinstance(o, dict) and 'AssertionError' in o: o['AssertionError'] = None\ndef f(x): return 0", NEAR),
    ("class D:\n  def __get__(self, *a): return lambda *a: True\nclass N:\n  startswith = D()\ndef f(): return N()", "assert f().startswith('Ann')"),
    ("import signal, os\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ndef f(x):\n  while True: pass", NEAR),
    ("import os, atexit\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit(0)", NEAR),
    ("import os, sys\nsys.stdout.write('OK\\n1 passed\\n'); sys.stdout.flush()\ndef f(x): os._exit(0)", NEAR),
    ("import os, threading\nthreading.Thread(target=lambda: os._exit(0), daemon=True).start()\ndef f(x):\n  while True: pass", NEAR),
    ("import os\ndef f(x):\n  if os.fork() == 0: os._exit(0)\n  return 0", NEAR),
    ("class N:\n  def __del__(self):\n    import os; os._exit(0)\ndef f(x): N(); return 0", NEAR),
    ("import codecs, json\njson.dumps = lambda *a: '[\"done\", 9, [null]]'\ncodecs.register(lambda n: None)\ndef f(x): return 0", "assert f(3) == 9\nassert f(3) == 8"),
    ("import builtins, operator\nbuiltins.isinstance = lambda *a: True\noperator.sub = lambda *a: 0\ndef f(x): return object()", NEAR),
]  # fmt: skip


@pytest.mark.parametrize(("program", "tests"), FAKES)
def test_a_fake_never_passes(sandbox: Sandbox, program: str, tests: str) -> None:
    outcome = sandbox.run(Job(program, tests))
    assert outcome.passed is not True, outcome
    assert outcome.reason


RIGHT = [
    ("class Vector:\n  def __init__(s, x, y): s.x, s.y = x, y\n  def __add__(s, o): return Vector(s.x + o.x, s.y + o.y)\n  def __rmul__(s, k): return Vector(k * s.x, k * s.y)\n  def __abs__(s): return (s.x**2 + s.y**2) ** .5\n  def __eq__(s, o): return (s.x, s.y) == (o.x, o.y)",
     "assert Vector(1, 2) + Vector(2, 2) == Vector(3, 4)\nassert abs(Vector(3, 4)) == 5\nassert abs(Vector(1, 2) + Vector(2, 2)) == 5\nassert 2 * Vector(1, 2) == Vector(2, 4)"),
    ("class Stack:\n  def __init__(s): s.items = []\n  def push(s, x): s.items.append(x)\n  def pop(s): return s.items.pop()\n  def __len__(s): return len(s.items)\n  def __contains__(s, x): return x in s.items\n  def __getitem__(s, i): return s.items[i]",
     "s = Stack()\ns.push(4)\ns.push(5)\nassert len(s) == 2 and 4 in s and 6 not in s and s[0] == 4\nassert s.pop() == 5"),
    ("class LRUCache:\n  def __init__(s, n): s.d = {}\n  def get(s, k): return s.d.get(k, -1)\n  def put(s, k, v): s.d[k] = v", "c = LRUCache(2)\nc.put(1, 1)\nassert c.get(1) == 1 and c.get(2) == -1"),
    ("import enum\nclass Color(enum.Enum):\n  RED = 1\ndef f(): return Color.RED", "assert f() == Color.RED and f() is Color.RED and f().value == 1"),
    ("from dataclasses import dataclass\n@dataclass(order=True)\nclass P:\n  x: int\ndef f(x): return P(x)", "assert f(1) == P(1) and f(1) != P(2) and f(1) < P(2) and f(1).x == 1"),
    ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)", "assert f().y == 2 and f() == (1, 2) and f()._asdict() == {'x': 1, 'y': 2}"),
    ("def f(): return {'a': 1}", "assert list(f().items()) == [('a', 1)]"),
    ("def f(): return {'a': 1}.keys()", "assert 'a' in f() and f() == {'a'}"),
    ("class Timer:\n  def __enter__(s): s.on = True; return s\n  def __exit__(s, *a): s.on = False", "with Timer() as t:\n  assert t.on\nassert not t.on"),
    ("class Meta(type): pass\nclass A(metaclass=Meta):\n  _one = None\n  def __new__(cls):\n    cls._one = cls._one or object.__new__(cls); return cls._one", "assert A() is A()"),
    ("def f():\n  yield 1\n  return 2", "g = f()\nassert next(g) == 1\ntry: next(g); assert False\nexcept StopIteration as e: pass"),
    ("def f(items, key): return sorted(items, key=key)", "assert f(['bb', 'a'], len) == ['a', 'bb']\nassert f([1, 2], key=lambda x: -x) == [2, 1]"),
    ("class Odd(ValueError): pass\ndef f(x): raise Odd('no')", "try: f(1); assert 0\nexcept ValueError as e: assert str(e) == 'no'"),
    ("class Solution:\n  def twoSum(self, a, t): return [0, 1]", "assert Solution().twoSum([2, 7], 9) == [0, 1]"),
    ("def make():\n  n = 0\n  def add():\n    nonlocal n; n += 1; return n\n  return add", "c = make()\nassert c() == 1 and c() == 2"),
    ("class Temp:\n  def __init__(s, c): s.c = c\n  @property\n  def f(s): return s.c * 9 / 5 + 32\n  def __float__(s): return float(s.c)", "assert Temp(100).f == 212 and float(Temp(3)) == 3.0 and abs(Temp(1).f - 33.8) < 1e-9"),
    ("def abs(x): return x if x > 0 else -x", "assert abs(-3) == 3"),
    ("import math\ndef f(r): return math.pi * r * r", "assert math.isclose(f(1), math.pi)"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "tests"), RIGHT)
def test_a_right_program_passes(sandbox: Sandbox, program: str, tests: str) -> None:
    outcome = sandbox.run(Job(program, tests))
    assert outcome.passed is True, outcome


MISSING = [
    ("class V:\n  def f(self): return self\n  def __sub__(self, o): return 0", "assert V().f() - 1 == 0", "whose operators"),
    ("async def f(): return 1", "import asyncio\nassert asyncio.run(f()) == 1", "awaited"),
    ("def f(p): return p.x", "class P:\n  x = 3\nassert f(P()) == 3", "cannot be passed to the program"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "tests", "why"), MISSING)
def test_what_cannot_be_carried_is_missing(sandbox: Sandbox, program: str, tests: str, why: str) -> None:
    outcome = sandbox.run(Job(program, tests))
    assert outcome.passed is None and why in str(outcome.reason)
