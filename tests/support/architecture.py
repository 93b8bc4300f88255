"""Checkers of the code's structure: each inspects syntax trees and returns the violations, one line each."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_IMPURE_MODULES = {
    "asyncio", "ctypes", "getpass", "http", "io", "locale", "logging", "multiprocessing", "os", "pathlib", "platform",
    "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
_IMPURE_FUNCTIONS = {"open", "input", "print", "eval", "exec"}
_CLOCK_METHODS = {"now", "utcnow", "today"}
_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COPY = re.compile(r"\s*COPY\s+(?:BINARY\s+)?[\w\"({]|\s*COPY\s*$")
_ONE_SENTENCE = re.compile(r"[A-Z`](?:(?![.!?] ).)*\.")


@dataclass(frozen=True)
class Module:
    """A Python file: its dotted module name (for an `__init__.py`, the package's name) and its source text."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Syntax tree of the module."""
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> list[tuple[ast.AST, str]]:
        """Imported names, each with its syntax node; see the function `imports`."""
        return list(_imports(self))

    def line(self, node: ast.AST) -> str:
        """Return the position of a syntax node as `module:line`."""
        return f"{self.name}:{getattr(node, 'lineno', 0)}"


def copies(module: Module) -> list[str]:
    """List the texts in a module that begin like PostgreSQL's statement COPY."""
    return [
        f"{module.line(node)} {node.value[:40]!r}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _COPY.match(node.value)
    ]


def modules(*folders: str) -> list[Module]:
    """Return every module in the given top-level folders and their subfolders."""
    found = []
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found.append(Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text()))
    return found


def within(name: str, packages: Collection[str]) -> bool:
    """Whether a dotted name is one of the packages or lies inside one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(module: Module) -> list[tuple[ast.AST, str]]:
    """Return the full name of every import in the module, including `import_module` calls with a literal name."""
    return module.imports


def impurities(module: Module, own: str) -> list[str]:
    """Return the impure parts of a module: calls that do I/O or read a clock, and imports that are not allowed.

    Allowed imports are msgspec, the package `own`, and the modules of the standard library that do no I/O.
    """
    found = []
    for node, name in imports(module):
        top = name.split(".")[0]
        harmless = top in sys.stdlib_module_names and top not in _IMPURE_MODULES
        if not (harmless or within(name, {"msgspec", own})):
            found.append(f"{module.line(node)} imports {name}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = _called(node)
            is_method = isinstance(node.func, ast.Attribute)
            if called in (_CLOCK_METHODS if is_method else _IMPURE_FUNCTIONS):
                found.append(f"{module.line(node)} calls {called}")
    return found


def wrong_directions(module: Module, allowed: Mapping[str, Collection[str]], project: Collection[str]) -> list[str]:
    """Return the imports of project packages that `allowed` does not permit.

    Args:
        module: the module to check.
        allowed: packages that may be imported, keyed by the importing package.
        project: all packages of the project; other imports are ignored.
    """
    rules = [targets for package, targets in allowed.items() if within(module.name, {package})]
    return [
        f"{module.line(node)} imports {name}"
        for node, name in imports(module)
        if within(name, project) and not all(within(name, targets) for targets in rules)
    ]


def upward_imports(module: Module, package: str, rooms: Sequence[str]) -> list[str]:
    """Return a module's imports from higher layers of its package.

    `rooms` lists the layers, which are the package's subpackages and modules, from the highest to the lowest.
    """
    own = _child(module.name, package)
    if own is None:
        return []
    height = {room: number for number, room in enumerate(rooms)}
    return [
        f"{module.line(node)} imports {name}"
        for node, name in imports(module)
        if (other := _child(name, package)) is not None and height[other] < height[own]
    ]


def circles(found: Sequence[Module]) -> list[str]:
    """Return the circular imports between the direct submodules and subpackages of each package."""
    names = {module.name for module in found}
    packages = sorted({name.rpartition(".")[0] for name in names} - {""})
    arrows = [(module.name, name) for module in found for _, name in imports(module)]
    faults = []
    for package in packages:
        graph: dict[str, set[str]] = {}
        for source, target in arrows:
            one, other = _child(source, package), _child(target, package)
            if one is not None and other is not None and one != other and f"{package}.{other}" in names:
                graph.setdefault(one, set()).add(other)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            faults.append(f"{package}: {' → '.join(reversed(error.args[1]))}")
    return faults


def _child(name: str, package: str) -> str | None:
    """Return the direct submodule or subpackage of `package` that contains `name`; None if there is none."""
    return name.removeprefix(f"{package}.").partition(".")[0] if name.startswith(f"{package}.") else None


def importers(found: Iterable[Module], package: str) -> list[str]:
    """Return the names of the modules that import a package or anything in it."""
    return [module.name for module in found if any(within(name, {package}) for _, name in imports(module))]


def defines(module: Module, name: str) -> bool:
    """Whether the module defines a top-level function or variable with the given name."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {getattr(target, "id", None) for target in targets}
        if name in names or (isinstance(node, _FUNCTIONS) and node.name == name):
            return True
    return False


def environment_uses(module: Module) -> list[str]:
    """Return the places that read or write environment variables."""
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "os"
    }
    found = [
        f"{module.line(node)} uses os.{node.attr}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in _ENVIRONMENT and getattr(node.value, "id", None) in aliases
    ]
    names = {f"os.{name}" for name in _ENVIRONMENT}
    return found + [f"{module.line(node)} imports {name}" for node, name in imports(module) if name in names]


def spelled(module: Module, names: Collection[str], prefix: str | None = None) -> list[str]:
    """Return the text literals that equal one of the names or begin with the regular expression `prefix`.

    Docstrings are ignored; the literal parts of f-strings are checked.
    """
    docstrings = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    return [
        f"{module.line(node)} spells {node.value!r}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if node.value in names or (prefix is not None and re.match(prefix, node.value))
    ]


def too_large(module: Module, *, lines: int, function_lines: int, nesting: int) -> list[str]:
    """Return the violations of the limits for lines per file, lines per function, and nesting in a function."""
    found = []
    count = len(module.text.splitlines())
    if count > lines:
        found.append(f"{module.name} has {count} lines")
    for node in ast.walk(module.tree):
        if isinstance(node, _FUNCTIONS):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            depth = max((_depth(child) for child in node.body), default=0)
            if length > function_lines:
                found.append(f"{module.line(node)} {node.name} has {length} lines")
            if depth > nesting:
                found.append(f"{module.line(node)} {node.name} is nested {depth} deep")
    return found


def poor_package_docstring(module: Module) -> list[str]:
    """Return a violation if the first line of a package docstring is not a single sentence.

    A blank line must separate the first line from the rest.
    """
    summary, *rest = (ast.get_docstring(module.tree) or "").split("\n")
    if _ONE_SENTENCE.fullmatch(summary) and not any(rest[:1]):
        return []
    return [f"{module.name}: the docstring does not begin with a line of one sentence: {summary!r}"]


def packages_without_docstring_file(folder: Path) -> list[str]:
    """Return the folders that contain Python files but no `__init__.py`."""
    holders = {path.parent for path in folder.rglob("*.py")}
    return [str(holder) for holder in sorted(holders) if not (holder / "__init__.py").exists()]


def resolved_elsewhere(names: Iterable[str]) -> list[str]:
    """Return the top-level packages that the import system finds outside the repository or not at all."""
    found = []
    for name in names:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
        if places != [str(REPOSITORY / name)]:
            found.append(f"{name} is imported from {places or 'nowhere'}")
    return found


def _imports(module: Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.name.split(".")[: -node.level]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            yield from ((node, f"{source}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            yield from ((node, str(name.value)) for name in node.args[:1] if isinstance(name, ast.Constant))


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _depth(node: ast.AST) -> int:
    """Return how deep blocks are nested in a node, including the node itself; an `elif` counts as its `if`."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)):
        return 0
    deepest = 0
    for child in ast.iter_child_nodes(node):
        depth = _depth(child)
        is_elif = isinstance(node, ast.If) and child in node.orelse and isinstance(child, ast.If)
        if is_elif and getattr(child, "col_offset", -1) == getattr(node, "col_offset", -2):
            depth -= 1
        deepest = max(deepest, depth)
    return deepest + isinstance(node, _BLOCKS)
