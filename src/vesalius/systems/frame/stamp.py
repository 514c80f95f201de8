"""What a result hangs on, as two hashes: the code that made it, and the cases and the frozen tower it was made with.

The code of a result is the recipe's module and every vesalius module that it imports, transitively, without docstrings
and comments. Left out are rooms that decide nothing about a figure that a test of their own would not catch: reading
and writing files (`io`, `render`), faces, the library's store, errors, the job. Left out too is the part of the frame
that only lists and stores. Weights and the files of a set count with the inputs.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from vesalius.models.manifest import Manifest
from vesalius.models.store import SHIPPED
from vesalius.systems.frame.catalogue import ROOM, find
from vesalius.systems.frame.worlds.world import World

#: Modules, and what lies below them, that a result does not hang on.
APART = (
    "vesalius.io", "vesalius.render", "vesalius.library", "vesalius.cli", "vesalius.verbs", "vesalius.server",
    "vesalius.errors", "vesalius.late_binding", "vesalius.job", f"{ROOM}.frame.catalogue", f"{ROOM}.frame.stamp",
    f"{ROOM}.frame.results", f"{ROOM}.frame.rerun", f"{ROOM}.frame.verdict", f"{ROOM}.frame.conformance",
)  # fmt: skip
#: Packages whose modules are found by name while running: one of them reached, all of them count.
WHOLE = ("vesalius.sources.phantom", "vesalius.corruptions")
#: What is opened by name behind a module.
BEHIND = {f"{ROOM}.frame.frozen": "vesalius.models.nano.model"}
PACKAGE = Path(__file__).parents[2]
#: Characters of a hash that are stored.
LENGTH = 12


def code_hash(name: str) -> str:
    """Hash of the code that a system's results hang on."""
    h = hashlib.sha256()
    for module in sorted(modules_of(f"{ROOM}.{find(name).module}")):
        h.update(f"{module}\n{_stripped(module)}\n".encode())
    return h.hexdigest()[:LENGTH]


def input_hash(name: str, world: World, folder: Path | None = None) -> str:
    """Hash of what is no code: the frozen tower where the system stands on it, and the files of real sets."""
    h = hashlib.sha256(world.name.encode())
    if f"{ROOM}.frame.frozen" in modules_of(f"{ROOM}.{find(name).module}"):
        h.update(_tower().encode())
    for one in getattr(world, "sets", ()):
        if folder is None:
            return ""
        h.update(_files(folder / one).encode())
    return h.hexdigest()[:LENGTH]


def modules_of(start: str) -> frozenset[str]:
    """A module and the vesalius modules that it imports, transitively, those of `APART` left out."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module in found or any(module == a or module.startswith(a + ".") for a in APART):
            continue
        found.add(module)
        waiting += _imported(module)
        waiting += [BEHIND[module]] if module in BEHIND else []
        if package := next((p for p in WHOLE if module == p or module.startswith(p + ".")), None):
            folder = PACKAGE.joinpath(*package.split(".")[1:])
            waiting += [f"{package}.{f.stem}" for f in folder.glob("*.py") if f.stem != "__init__"]
    return frozenset(found)


@cache
def _source(module: str) -> Path | None:
    """The file of a module; None where there is no such module (a name that was imported from one)."""
    file = PACKAGE.joinpath(*module.split(".")[1:])
    return next((f for f in (file.with_suffix(".py"), file / "__init__.py") if f.is_file()), None)


def _tree(module: str) -> ast.Module:
    file = _source(module)
    return ast.parse(file.read_text("utf-8")) if file is not None else ast.Module([], [])


@cache
def _imported(module: str) -> tuple[str, ...]:
    """What a module imports of vesalius, also inside its functions; not what only the type checker sees."""
    names: set[str] = set()
    waiting: list[ast.AST] = [_tree(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        waiting += ast.iter_child_nodes(node)
    return tuple(n for n in sorted(names) if n.startswith("vesalius.") and _source(n) is not None)


@cache
def _stripped(module: str) -> str:
    """A module's code without docstrings and comments, so that wording changes no hash."""
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@cache
def _tower() -> str:
    return Manifest.read(SHIPPED / "nano").fingerprint


@cache
def _files(folder: Path) -> str:
    """Names and sizes of a set's files: what tells an exchanged or extended set, in milliseconds."""
    return "\n".join(
        f"{p.relative_to(folder).as_posix()} {p.stat().st_size}" for p in sorted(folder.rglob("*")) if p.is_file()
    )
