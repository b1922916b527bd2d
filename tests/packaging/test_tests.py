"""The tests keep to their tree: short modules, which share what they share by `support` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import TESTS

LINES = 500
MODULES = sorted(path for folder in TESTS.iterdir() if folder.is_dir() for path in folder.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_module_of_tests_is_short_and_imports_no_other(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES
    others = {each.stem for each in TESTS.rglob("*.py") if each.stem.startswith(("test_", "conftest"))}
    assert not [name for name in imports(path) if others & set(name.split("."))]
