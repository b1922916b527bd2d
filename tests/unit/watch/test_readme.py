"""The table in `watch/README.md` is the one that the code walks."""

from __future__ import annotations

from pathlib import Path

import aioconsulconnect.watch
from aioconsulconnect.watch.protocol.transitions import table

README = Path(aioconsulconnect.watch.__file__).with_name("README.md")


def test_the_readme_has_the_table_that_the_code_walks() -> None:
    written = README.read_text().partition("<!-- transitions -->\n")[2].partition("<!-- end -->")[0]
    assert written == table()


def test_the_readme_names_every_module() -> None:
    text = README.read_text()
    modules = {path.stem for path in README.parent.rglob("*.py")} - {"__init__"}
    assert {name for name in modules if f"{name}`" not in text} == set()
