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
WIRED = re.compile(
    r"testing\.(state|handlers|server|protocol)\.\w+\.[A-Z]\w+$|testing\.faults\.Faults$"
)  # by Agent alone
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
    yield from _inside(module, ast.parse(file.read_text("utf-8")))


def _inside(name: str, node: Documented) -> Iterator[Thing]:
    parameters = _of_class(node) if isinstance(node, ast.ClassDef) else _parameters(node)
    yield Thing(name, ast.get_docstring(node), parameters)
    if isinstance(node, Function):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            decorators = {ast.unparse(one).rpartition(".")[2] for one in child.decorator_list}
            if not decorators & {"overload", "setter", "override"}:
                yield from _inside(f"{name}.{child.name}", child)


def _parameters(node: Documented) -> tuple[str, ...]:
    if not isinstance(node, Function):
        return ()
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [one.arg for one in given if one.arg not in {"self", "cls"} and not one.arg.startswith("_")]
    return tuple(names)


def _of_class(node: ast.ClassDef) -> tuple[str, ...]:
    """The parameters of its constructor."""
    made = next((one for one in node.body if isinstance(one, Function) and one.name == "__init__"), None)
    return () if made is None else _parameters(made)


FILES = sorted(file for file in PACKAGE.rglob("*.py") if not file.name.startswith("_") or file.name == "__init__.py")
THINGS = {thing.name: thing for file in FILES for thing in things_of(file)}
SEVERAL = 2


def wrong_first_line(docstring: str) -> str:
    """Say what is wrong with it, or nothing."""
    first = docstring.strip().split("\n", 1)[0]
    if len(first) > LONGEST:
        return f"{len(first)} characters"
    if not first.endswith("."):
        return "no full stop"
    return "a clause" if CLAUSE.match(first) else ""


def test_first_line_of_each_docstring_stands_alone() -> None:
    told = {name: wrong_first_line(thing.docstring) for name, thing in THINGS.items() if thing.docstring}
    assert {name: why for name, why in told.items() if why} == {}


def test_public_object_has_a_docstring() -> None:
    assert [name for name, thing in THINGS.items() if not thing.docstring and not name.endswith("__init__")] == []


def test_several_parameters_are_all_named() -> None:
    missing = {
        name: [one for one in thing.parameters if f"`{one}`" not in thing.docstring]
        for name, thing in THINGS.items()
        if thing.docstring and len(thing.parameters) >= SEVERAL and not WIRED.match(name)
    }
    assert {name: which for name, which in missing.items() if which} == {}


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("Whether something is.", "a clause"),
        ("The same with their health.", "a clause"),
        ("Read it", "no full stop"),
        ("Read it" + " again" * 20 + ".", "128 characters"),
        ("Read an intention.\n\nWhat follows is free", ""),
    ],
)
def test_wrong_first_line_is_told(first: str, why: str) -> None:
    assert wrong_first_line(first) == why
