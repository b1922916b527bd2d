"""
Regular expressions of rules, judged by RE2 alone.

Python's `re` takes other expressions and can need hours for a short path, so without google-re2 they stay unknown.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Protocol, cast

LONGEST_PATTERN = 4096
MOST_MEMORY = 2 << 20
"""Bytes that a compiled pattern may take; more would take a tenth of a second to compile."""
MOST_STEPS = 3_000_000
"""Bytes of texts times instructions of patterns: what RE2 may do for one question, some 20 ms at its worst."""
_STEPS_OF_A_CALL = 1000  # what a match takes at least, also to prepare the pattern for its first text

_CHOICE = re.compile(r"[*+?{|]")


class _Pattern(Protocol):
    programsize: int

    def fullmatch(self, text: bytes) -> object | None:
        """Return a match of the whole text, or None."""
        ...


class _Options(Protocol):
    max_mem: int
    log_errors: bool
    never_capture: bool
    encoding: object
    Encoding: object

    def __call__(self) -> _Options:
        """Make options: the class is used like one of its instances."""
        ...


class _RE2(Protocol):
    error: type[Exception]
    Options: _Options

    def compile(self, pattern: bytes, options: object) -> _Pattern:
        """Compile a pattern."""
        ...


@cache
def _library() -> _RE2 | None:
    """Google's wrapper: others of the same name fall back to `re`, and have no options of this kind."""
    try:
        found = importlib.import_module("re2")
    except ImportError:
        return None
    return cast("_RE2", found) if hasattr(found, "Options") and hasattr(found, "Set") else None


def is_available() -> bool:
    """Return True if google-re2 is installed."""
    return _library() is not None


class Budget:
    """
    Work that RE2 may still do for one question.

    All matches of a question share it: a stranger chooses the text, so no number of rules may multiply the time.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left: int = MOST_STEPS

    def spend(self, steps: int) -> bool:
        """Take `steps` from it; False if it has not as many."""
        if steps > self.left:
            return False
        self.left -= steps
        return True


class Regex:
    """
    Regular expression that must match a whole text.

    Up to Envoy 1.39.0 it is read as characters of UTF-8, from 1.39.1 on as bytes (A10).

    - `characters`, `octets`: the pattern compiled in these two ways.
    - `length`: number of characters of a pattern without choice, each of whose characters is compared with one byte of
      the text; 1 for a pattern with choice, all of which may be compared with each byte.
    """

    __slots__ = ("_characters", "_octets", "_of_characters", "_of_octets")

    def __init__(self, characters: _Pattern, octets: _Pattern, length: int) -> None:
        self._characters = characters
        self._octets = octets
        self._of_characters = characters.programsize // length + 1
        self._of_octets = octets.programsize // length + 1

    def matches(self, text: str, budget: Budget, *, all_versions: bool) -> bool | None:
        """
        Return True if the whole text matches, and None if that is not known.

        - `text`: the text; it is not judged where the budget has not as many steps as it may take.
        - `budget`: what may still be done for this question.
        - `all_versions`: True if all versions of Envoy have to agree; False for what the newest one says.
        """
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half of a surrogate pair that stands for no byte
            return None
        if not budget.spend(_STEPS_OF_A_CALL + len(data) * self._of_octets):
            return None
        found = self._octets.fullmatch(data) is not None
        if all_versions and not text.isascii():
            if not budget.spend(_STEPS_OF_A_CALL + len(data) * self._of_characters):
                return None
            if (self._characters.fullmatch(data) is not None) is not found:
                return None
        return found


def compile_regex(pattern: str, *, before: str = "") -> Regex | None:
    """
    Compile a regular expression; None if RE2 is not installed or refuses it, or if it is too large.

    - `pattern`: the expression.
    - `before`: text that is put before it, in which no two parts can match the same byte; default none.
    """
    library = _library()
    if library is None:
        return None
    try:
        data = (before + pattern).encode()
        if len(data) > LONGEST_PATTERN:
            return None
        characters = library.compile(data, _options(library, "UTF8"))
        octets = library.compile(data, _options(library, "LATIN1"))
    except (library.error, UnicodeEncodeError):
        return None
    return Regex(characters, octets, 1 if _CHOICE.search(pattern) else max(len(pattern), 1))


def _options(library: _RE2, encoding: str) -> object:
    options = library.Options()
    options.max_mem = MOST_MEMORY
    options.log_errors = False
    options.never_capture = True  # only whether it matches is asked, which takes time in proportion to the text
    options.encoding = getattr(library.Options.Encoding, encoding)
    return options
