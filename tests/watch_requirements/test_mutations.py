"""The tests of W1 to W40 can fail: each does when the behaviour it stands for is taken out of a copy of the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.mutation import Mutation
from support.mutations import MUTATIONS
from support.mutator import mutated_copy, places
from support.paths import ROOT

import aioconsulconnect

PACKAGE = Path(aioconsulconnect.__file__).parent  # the one that is tested: it may be installed elsewhere
FILES = tuple(file for file in sorted(Path(__file__).parent.glob("test_*.py")) if file != Path(__file__))
FAILED = 1  # pytest's exit status for failed tests; others mean that it could not run them
ANOTHER_PACKAGE = 99

# The folder of the copy is the first in which Python looks. Whether it is the copy that was tested is looked at last: a
# package that is imported before pytest can have none of its asserts rewritten.
HANGS = 120.0  # seconds
RUNNER = f"""
import sys, pytest
status = pytest.main(sys.argv[2:])
import aioconsulconnect
sys.exit(status if aioconsulconnect.__file__ == sys.argv[1] else {ANOTHER_PACKAGE})
"""


def run(copy: Path, *which: str) -> subprocess.CompletedProcess[str]:
    """The requirements' tests, on this copy of the package instead of ours; one that hangs has failed."""
    command = [sys.executable, "-c", RUNNER, str(copy / "__init__.py")]
    options = ["-q", "-x", "--timeout=10", "-p", "no:cacheprovider"]
    where = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *map(str, FILES)]
    whole = [*command, *options, *where, *which]
    try:
        return subprocess.run(whole, cwd=copy.parent, capture_output=True, text=True, check=False, timeout=HANGS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(whole, FAILED, "", "it hangs")


def requirements() -> set[str]:
    return {found for file in FILES for found in re.findall(r"def test_(w\d\d)_", file.read_text("utf-8"))}


def test_every_requirement_has_a_test_and_a_mutation() -> None:
    expected = {f"w{number:02d}" for number in range(1, 41)}
    assert requirements() == expected
    assert {mutation.requirement for mutation in MUTATIONS} == expected


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_each_node_to_change_is_there_once(mutation: Mutation) -> None:
    found = places(PACKAGE, mutation)
    assert len(found) == 1, f"{mutation.symbol} is in {[str(file) for file, _ in found]}"
    ((_, count),) = found
    assert count >= mutation.occurrence if mutation.occurrence else count == 1, f"{count} times: {mutation}"


@pytest.mark.soak
@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mutation_is_noticed(tmp_path: Path, mutation: Mutation) -> None:
    result = run(mutated_copy(PACKAGE, tmp_path, mutation), "-k", f"test_{mutation.requirement}_")
    assert result.returncode == FAILED, (
        f"{result.returncode}: {mutation}\n{result.stdout[-3000:]}{result.stderr[-1000:]}"
    )


@pytest.mark.soak
def test_an_unbroken_copy_passes(tmp_path: Path) -> None:
    result = run(mutated_copy(PACKAGE, tmp_path, None))
    assert result.returncode == 0, f"{result.returncode}\n{result.stdout[-3000:]}{result.stderr[-1000:]}"
