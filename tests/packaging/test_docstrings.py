"""Docstrings of everything public: a first line that names the thing and stands alone, and every parameter named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import aioconsulconnect

PACKAGE = Path(aioconsulconnect.__file__).parent
CLAUSE = re.compile(r"(What|Whether|How|The same|As)\b")
LONGEST = 100
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


class Thing(NamedTuple):
    """A public module, class, function or attribute with a docstring, or without one."""

    name: str
    docstring: str | None
    parameters: tuple[str, ...] = ()


def things_of(file: Path) -> Iterator[Thing]:
    module = file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    yield from _inside(module, ast.parse(file.read_text()), "")


def _inside(name: str, node: Documented, owner: str) -> Iterator[Thing]:
    yield Thing(name, ast.get_docstring(node), _parameters(node, owner))
    if isinstance(node, Function):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            decorators = {ast.unparse(one).rpartition(".")[2] for one in child.decorator_list}
            if not decorators & {"overload", "setter", "override"}:
                yield from _inside(f"{name}.{child.name}", child, node.name if isinstance(node, ast.ClassDef) else "")


def _parameters(node: Documented, owner: str) -> tuple[str, ...]:
    if not isinstance(node, Function):
        return ()
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [one.arg for one in given if one.arg not in {"self", "cls"} and not one.arg.startswith("_")]
    return tuple(names)


FILES = sorted(file for file in PACKAGE.rglob("*.py") if not file.name.startswith("_") or file.name == "__init__.py")
THINGS = [thing for file in FILES for thing in things_of(file)]


def wrong_first_line(docstring: str) -> str:
    """What is wrong with it, or nothing."""
    first = docstring.strip().split("\n", 1)[0]
    if len(first) > LONGEST:
        return f"{len(first)} characters"
    if not first.endswith("."):
        return "no full stop"
    return "a clause" if CLAUSE.match(first) else ""


def test_first_line_of_each_docstring_stands_alone() -> None:
    wrong = {t.name: f"{why}: {t.docstring.split(chr(10))[0]}" for t in THINGS if t.docstring and (why := wrong_first_line(t.docstring))}
    assert wrong == {}


if __name__ == "__main__":
    for t in THINGS:
        if t.docstring and (why := wrong_first_line(t.docstring)):
            print(t.name, "|", why, "|", t.docstring.split("\n")[0])
        elif t.docstring is None and not t.name.endswith("__init__"):
            print(t.name, "| none")
