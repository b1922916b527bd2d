"""The tests of W1 to W38 can fail: each does when the behaviour it stands for is taken out of a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.mutations import MUTATIONS
from support.paths import ROOT

import aioconsulconnect

PACKAGE = Path(aioconsulconnect.__file__).parent  # the one that is tested: it may be installed elsewhere
REQUIREMENTS = Path(__file__).parent
FILES = tuple(file for file in sorted(REQUIREMENTS.glob("test_*.py")) if file != Path(__file__))
FAILED = 1  # pytest's exit status for failed tests; others mean that it could not run them


def run(directory: Path, *which: str) -> subprocess.CompletedProcess[str]:
    """The requirements' tests, on the package in `directory` instead of ours."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=10", "-p", "no:cacheprovider"]
    where = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    return subprocess.run(
        [*command, *where, *map(str, FILES), *which], cwd=directory, capture_output=True, text=True, check=False
    )


def requirements() -> set[str]:
    return {found for file in FILES for found in re.findall(r"def test_(w\d\d)_", file.read_text())}


def test_every_requirement_has_a_test_and_a_line_to_break() -> None:
    expected = {f"w{number:02d}" for number in range(1, 39)}
    assert requirements() == expected
    assert {requirement for requirement, *_ in MUTATIONS} == expected


@pytest.mark.parametrize(("requirement", "module", "text", "broken"), MUTATIONS)
def test_each_line_to_break_is_there(requirement: str, module: str, text: str, broken: str) -> None:
    assert (PACKAGE / f"{module}.py").read_text().count(text) == 1, (requirement, text, broken)


@pytest.mark.soak
@pytest.mark.parametrize(("requirement", "module", "text", "broken"), MUTATIONS)
def test_a_broken_line_is_noticed(tmp_path: Path, requirement: str, module: str, text: str, broken: str) -> None:
    copy = tmp_path / "aioconsulconnect"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "testing", "cli"))
    file = copy / f"{module}.py"
    file.write_text(file.read_text().replace(text, broken))
    result = run(tmp_path, "-k", f"test_{requirement}_")
    assert result.returncode == FAILED, (
        f"{text!r} can be lost unnoticed:\n{result.stdout[-3000:]}{result.stderr[-1000:]}"
    )


@pytest.mark.soak
def test_an_unbroken_copy_passes(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "aioconsulconnect", ignore=shutil.ignore_patterns("__pycache__"))
    result = run(tmp_path)
    assert result.returncode == 0, result.stdout[-3000:]
