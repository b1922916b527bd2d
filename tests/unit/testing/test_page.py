"""The page of `testing/` says what the in-process agent models."""

from __future__ import annotations

from support.package import FOLDER
from support.testing_page import BEGIN, END, page


def test_page_has_what_the_agent_models() -> None:
    written = (FOLDER / "testing" / "README.md").read_text("utf-8")
    assert written.partition(BEGIN)[2].partition(END)[0].strip() == page().strip()
