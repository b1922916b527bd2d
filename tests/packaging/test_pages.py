"""The pages hold together: their links lead somewhere, and the tests that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.package import FOLDER, PACKAGE
from support.paths import ROOT, TESTS

GITHUB = (ROOT / ".github").glob("*.md")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *GITHUB, *sorted(FOLDER.rglob("README.md"))]
FOLDERS = sorted({path.parent for path in FOLDER.rglob("*.py")} - {FOLDER})
MOST_LINES, FIRST_CODE = 200, 15


def place(page: Path) -> Path:
    """Where a page stands in the project, also if the package is installed elsewhere."""
    return Path(PACKAGE) / page.relative_to(FOLDER) if page.is_relative_to(FOLDER) else page.relative_to(ROOT)


def found(target: Path) -> Path:
    """The file at a place in the project."""
    parts = target.parts
    return FOLDER.joinpath(*parts[1:]) if parts[:1] == (PACKAGE,) else ROOT / target


def anchors(page: Path) -> set[str]:
    """The names of its headings, as links spell them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(place(page)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        place_of_target = Path(*_normal((place(page).parent / name).parts)) if name else place(page)
        target = found(place_of_target)
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def _normal(parts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept.pop()
        else:
            kept.append(part)
    return kept


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(FOLDER).as_posix())
def test_each_folder_has_a_page_that_names_its_modules(folder: Path) -> None:
    page = (folder / "README.md").read_text("utf-8")
    if folder.is_relative_to(FOLDER / "testing"):
        return  # these speak of groups of modules
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {name for name in modules if not re.search(rf"`([\w/]*/)?{name}(\.\w+)?`", page)} == set()


def test_page_of_watches_names_a_test_for_each_guarantee() -> None:
    page = (FOLDER / "watch" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| W(\d+) \| .* \| `(test_w(\d+)_\w+)` \|$", page, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 41))
    tests = "".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    assert [name for number, name, own in rows if int(number) != int(own) or f"def {name}(" not in tests] == []


def test_main_page_is_short_and_begins_with_code() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) < MOST_LINES
    assert lines.index("```python") < FIRST_CODE
