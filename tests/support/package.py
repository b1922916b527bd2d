"""The package as its own sources show it: modules, what they import, what they name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import aioconsulconnect

PACKAGE = "aioconsulconnect"
FOLDER = Path(aioconsulconnect.__file__).parent  # the one that is tested: it may be installed elsewhere

# By their name in the package: `structs.ca`, `structs.__init__`.
MODULES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
    for path in sorted(FOLDER.rglob("*.py"))
}


def lines_of(module: str) -> int:
    """How many lines a module has, docstrings aside: they are as long as they have to be."""
    lines = FOLDER.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8").splitlines()
    texts = (
        node.end_lineno - node.lineno + 1
        for node in nodes(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.end_lineno is not None
    )
    return len(lines) - sum(texts)


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Every node of a module's syntax tree."""
    return tuple(ast.walk(MODULES[module]))


@cache
def imports(module: str) -> tuple[str, ...]:
    """Every module that is imported anywhere in it, and `module.name` for every name taken from one."""
    return tuple(_imports(module))


def _imports(module: str) -> Iterator[str]:
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            assert node.module is not None
            taken = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from taken
            if not all(name.removeprefix(PACKAGE + ".") in MODULES for name in taken):
                yield node.module


def imports_of_ours(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found: set[str] = set()
    for name in imports(module):
        inner = name.removeprefix(PACKAGE).removeprefix(".")
        if name.partition(".")[0] == PACKAGE:
            found |= {known for known in (inner, f"{inner}.__init__".lstrip(".")) if known in MODULES}
    return found


def identifiers(module: str) -> Iterator[str]:
    """Every identifier that a module's syntax tree has, the module's own name included."""
    yield from module.split(".")
    for node in nodes(module):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield from name.split(".")
                if asname:
                    yield asname
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case _:
                pass
