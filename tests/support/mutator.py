"""Finds the node of a mutation in a package, and writes a copy of the package in which it is another."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from support.mutation import Mutation

LEFT_ALONE = {"testing", "cli"}
"""Folders in which no symbol is looked for: nothing of a watch is there."""


def sources(package: Path) -> Iterator[Path]:
    """The modules in which a symbol may stand."""
    for file in sorted(package.rglob("*.py")):
        if not LEFT_ALONE & set(file.relative_to(package).parts):
            yield file


def symbols(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Functions, methods and constants of a module by their names."""
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, statement
            case ast.ClassDef():
                for part in statement.body:
                    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                        yield f"{statement.name}.{part.name}", part
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, statement


@cache
def index(package: Path) -> dict[str, list[tuple[Path, ast.stmt]]]:
    """Where each symbol of a package stands."""
    found: dict[str, list[tuple[Path, ast.stmt]]] = {}
    for file in sources(package):
        for name, statement in symbols(ast.parse(file.read_text("utf-8"))):
            found.setdefault(name, []).append((file, statement))
    return found


def parsed(mutation: Mutation) -> tuple[ast.AST, list[ast.stmt] | ast.expr]:
    """What is looked for, and what stands there instead: two expressions, or a statement and some statements."""
    (node,), becomes = ast.parse(mutation.node).body, ast.parse(mutation.becomes).body
    if isinstance(node, ast.Expr) and len(becomes) == 1 and isinstance(becomes[0], ast.Expr):
        return node.value, becomes[0].value
    return node, becomes


def places(package: Path, mutation: Mutation) -> list[tuple[Path, int]]:
    """For each symbol of that name: its module, and how often the node occurs in it."""
    wanted = ast.dump(parsed(mutation)[0])
    return [
        (file, sum(ast.dump(node) == wanted for node in ast.walk(statement)))
        for file, statement in index(package).get(mutation.symbol, [])
    ]


class _Replacing(ast.NodeTransformer):
    def __init__(self, wanted: ast.AST, becomes: list[ast.stmt] | ast.expr, occurrence: int) -> None:
        self._wanted = ast.dump(wanted)
        self._becomes = becomes
        self._to_come = occurrence

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        if ast.dump(node) == self._wanted:
            self._to_come -= 1
            if self._to_come == 0:
                return self._becomes
        self.generic_visit(node)
        return node


def mutated_copy(package: Path, folder: Path, mutation: Mutation | None) -> Path:
    """
    A copy of the package in `folder` with that mutation, or with none.

    Every module goes through the same printer, so that an unbroken copy shows that it breaks nothing.
    """
    copy = folder / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file in sources(copy):
        tree = ast.parse(file.read_text("utf-8"))
        if mutation is not None:
            for name, statement in symbols(tree):
                if name == mutation.symbol:
                    _Replacing(*parsed(mutation), mutation.occurrence or 1).visit(statement)
        file.write_text(ast.unparse(tree), "utf-8")
    return copy
