"""Fixtures for tests of the rules: a machine without google-re2."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from aioconsulconnect.authorization.rules import regex


@pytest.fixture
def without_re2(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def missing(name: str) -> object:
        raise ImportError(name)

    regex._library.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    yield
    regex._library.cache_clear()
