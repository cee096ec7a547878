"""The shape of the product's code: files, lines, entries, import circles, class names used twice.

    python -m bench.house [--names] [--circles] [--lone]

Reads the imports and classes of `assay`, `tui`, `engine` and `store` with `ast`; nothing is executed.
Imports inside functions count, imports for type checkers alone do not. `--names` lists class names that
several files define, `--circles` modules that import one another, `--lone` files whose only importer lies in
their folder.
"""

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("assay", "tui", "engine", "store")
# What a folder may hold, and the whole product: a newcomer has to find the right file from the names alone.
LIMITS = {"assay": 7, "engine": 22, "tui": 10, "tui/screens": 22, "engine/phases": 18}
FILES, LINES = 425, 56_000


@dataclass(frozen=True, slots=True)
class House:
    """Lines of each module, the modules that it imports, and the modules that define each public class."""

    lines: Mapping[str, int]
    imports: Mapping[str, frozenset[str]]
    classes: Mapping[str, tuple[str, ...]]

    @property
    def doubled(self) -> dict[str, tuple[str, ...]]:
        """Public class names that several modules define."""
        return {name: files for name, files in self.classes.items() if len(files) > 1}

    @property
    def circles(self) -> list[list[str]]:
        """Groups of modules each of which imports all others of its group, directly or through them."""
        return [sorted(group) for group in _strongly_connected(self.imports) if len(group) > 1]

    @property
    def lone(self) -> list[str]:
        """Modules that one other module imports, which lies in the same folder."""
        users = defaultdict(set)
        for module, imported in self.imports.items():
            for name in imported:
                users[name].add(module)
        return sorted(
            module
            for module, by in users.items()
            if len(by) == 1 and next(iter(by)).rpartition(".")[0] == module.rpartition(".")[0]
        )


@cache
def survey(root: Path = ROOT) -> House:
    """Reads all modules of the product below `root`."""
    files = {_module(path, root): path for floor in FLOORS for path in sorted((root / floor).rglob("*.py"))}
    lines, imports, classes = {}, {}, defaultdict(list)
    for module, path in files.items():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        lines[module] = len(text.splitlines())
        imports[module] = frozenset(
            name for found in _imports(tree) for name in [_known(found, files)] if name and name != module
        )
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(module)
    return House(lines, imports, {name: tuple(found) for name, found in classes.items()})


def entries(folder: str, root: Path = ROOT) -> int:
    """How many files and folders a folder of the product holds, caches left out."""
    return sum(entry.name != "__pycache__" for entry in (root / folder).iterdir())


def _module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _imports(node: ast.AST) -> Iterator[str]:
    """Dotted names that are imported; of `from a import b` it is `a.b`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _imports(other)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _imports(child)


def _known(name: str, modules: Mapping[str, Path]) -> str | None:
    """The module that a dotted name lies in: itself or its parent."""
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in modules else None


def _strongly_connected(graph: Mapping[str, frozenset[str]]) -> Iterator[set[str]]:
    """Tarjan's algorithm, with a stack of its own so that no depth of imports is too much."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    for start in graph:
        if start in index:
            continue
        work = [(start, iter(sorted(graph[start])))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            node, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    cut = stack.index(node)
                    yield set(stack[cut:])
                    del stack[cut:]
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                work.append((following, iter(sorted(graph[following]))))
            elif following in stack:
                low[node] = min(low[node], index[following])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.house")
    for flag in ("--names", "--circles", "--lone"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args()
    house = survey()
    print(f"{'':14}{'files':>8}{'lines':>10}{'entries':>10}{'at most':>10}")
    for floor in FLOORS:
        own = [count for module, count in house.lines.items() if module.split(".")[0] == floor]
        print(f"{floor:14}{len(own):8,}{sum(own):10,}{entries(floor):10,}{LIMITS.get(floor, ''):>10}")
    print(f"{'product':14}{len(house.lines):8,}{sum(house.lines.values()):10,}    at most {FILES}, {LINES:,}")
    for folder in ("tui/screens", "engine/phases"):
        print(f"{folder:32}{entries(folder):10,}{LIMITS[folder]:>10}")
    print(f"import circles: {len(house.circles)}")
    print(f"class names of several files: {len(house.doubled)}")
    print(f"files whose only importer lies beside them: {len(house.lone)}")
    if asked.circles:
        for group in house.circles:
            print("  " + " ".join(group))
    if asked.names:
        for name, found in sorted(house.doubled.items()):
            print(f"  {name}: {', '.join(found)}")
    if asked.lone:
        print("\n".join(f"  {module}" for module in house.lone))


if __name__ == "__main__":
    main()
