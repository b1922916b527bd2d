"""Durations: seconds in Python, Go's text in JSON."""

from __future__ import annotations

import math
import re
from enum import EnumType
from typing import TYPE_CHECKING

from aioconsulconnect.errors import InvalidRequest

if TYPE_CHECKING:
    # To a reader and a type checker it is a float of seconds; `Timed` converts any number given.
    Seconds = float
else:

    class Seconds(float):
        """
        Duration in seconds.

        Consul answers with text ("1m30s") or with whole nanoseconds, depending on the field and the version; both are
        read. Text is always written: every field of every version takes it.
        """

        __slots__ = ()

        def __new__(cls, seconds: object = 0.0) -> Seconds:  # noqa: D102, PYI034 - of a subclass, see below
            return float.__new__(_WrittenAsText, seconds)

        def __reduce__(self) -> tuple[object, ...]:
            return Seconds, (float(self),)

    # msgspec encodes its own list of types and, by their `_value_`, the instances of enumerations. So a duration is one
    # of these for it, in nothing else: that way `msgspec.json.encode`, and whatever builds on it, takes the structs as
    # they are, without a hook.
    _WrittenAsText = type.__new__(
        EnumType,
        "Seconds",
        (Seconds,),
        {
            "__slots__": (),
            "_member_names_": [],  # what enumerations have, and what iterates them looks for
            "_member_map_": {},
            "_value_": property(lambda self: go_text(self)),  # noqa: PLW0108 - defined below
        },
    )


_UNITS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"
_TEXT = re.compile(rf"([+-]?)((?:{_PART})+)")
_LIMIT = 2**63


def seconds_of(value: object) -> Seconds:
    """
    Return the duration that Go's text or a number of nanoseconds states.

    Raises ValueError for any other value.
    """
    if isinstance(value, str):
        if value in {"", "0"}:
            return Seconds(0)
        match = _TEXT.fullmatch(value)
        if match is None:
            raise ValueError(f"{value[:40]!r} is not a duration")
        amount = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, match[2]))
        value = -amount if match[1] == "-" else amount
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _LIMIT:
        raise ValueError("a duration is text or a number of nanoseconds, of at most 292 years")
    return Seconds(value / 10**9)


def go_text(seconds: float) -> str:
    """
    Return `seconds` as Go writes a duration, to the nanosecond: `1h0m0s`, `1m30s`, `0.5s`.

    Raises InvalidRequest for a number that is not finite, or of more than 292 years.
    """
    if not math.isfinite(seconds) or abs(seconds) * 10**9 >= _LIMIT:
        raise InvalidRequest(f"{seconds!r} seconds is no duration that Consul can hold")
    whole, fraction = divmod(round(abs(seconds) * 10**9), 10**9)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    point = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{'-' if seconds < 0 else ''}{text}{rest}{point}s"


def from_wire(kind: type[object], value: object) -> object:
    """
    Decode a duration for msgspec, as its `dec_hook`.

    `kind` is the type of the field, `value` what was read for it. msgspec calls the hook for fields of type `object`
    too, whose value is left as it is.
    """
    return seconds_of(value) if kind is Seconds else value
