"""The folders of the in-process agent stand in one order, and a line has its place by its subject."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import aioconsulconnect

PACKAGE = "aioconsulconnect.testing"
ROOT = Path(aioconsulconnect.__file__).parent / "testing"
# A module imports from its own row and from those before it.
ORDER = (
    "versions", "go_json", "protocol", "config_entries", "state", "handlers", "versioned_fields", "server", "faults",
    "agent", "real_agent", "__init__",
)  # fmt: skip
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
FOLDERS = sorted({path.parent for path in MODULES.values()})


def row(module: str) -> str:
    return module.partition(".")[0]


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a module imports, by their names in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            inner = node.module.removeprefix(PACKAGE).removeprefix(".")
            yield from (inner or alias.name for alias in node.names)


def test_every_module_has_its_row() -> None:
    assert {row(module) for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_earlier_rows(module: str) -> None:
    own = ORDER.index(row(module))
    assert not {other for other in imports(MODULES[module]) if ORDER.index(row(other)) > own}


def test_the_launcher_of_a_real_agent_imports_nothing_of_the_package() -> None:
    assert set(imports(MODULES["real_agent"])) == set()
    assert "aioconsulconnect" not in MODULES["real_agent"].read_text("utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_has_at_most_fourteen_modules_and_an_empty_front(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 14
    if folder != ROOT:
        assert len((folder / "__init__.py").read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 350
