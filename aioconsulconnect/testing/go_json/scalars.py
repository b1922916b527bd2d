"""Booleans, durations and times as Go reads and writes them."""

import re
import time
from datetime import UTC, datetime
from typing import Final, Literal

from aioconsulconnect.testing.go_json.errors import DecodeError


def now() -> str:
    """The present time, as `instant` writes it."""
    return instant(time.time_ns())


def instant(nanoseconds: int) -> str:
    """Write a time since 1970 in UTC, with up to nine digits after the second, trailing zeros cut."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    digits = f".{fraction:09}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"


TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TOO_LONG: Final = 2**63
_DURATION: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")


def parse_duration(value: str) -> int:
    """Read a Go duration such as `1m30s` into nanoseconds; ValueError with Go's words where it is none."""
    sign, rest = (-1, value[1:]) if value.startswith("-") else (1, value.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = 0.0, 0
    while at < len(rest) and (part := _DURATION.match(rest, at)):
        if part[2] not in _UNITS:
            wrong = f'unknown unit "{part[2]}"' if part[2] else "missing unit"
            raise ValueError(f'time: {wrong} in duration "{value}"')
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if at < len(rest) or not rest or total >= _TOO_LONG:
        raise ValueError(f'time: invalid duration "{value}"')
    return sign * round(total)


def format_duration(nanoseconds: int) -> str:
    """Write nanoseconds as Go prints a duration: `1m30s`, `1.5s`, `250ms`."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.9f}".rstrip("0").rstrip(".") + unit
        return "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10**9}.{rest % 10**9:09}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


def read_duration(value: str | int, kind: Literal["duration", "nanoseconds"]) -> object:
    """Read a duration, given as Go text or as nanoseconds, into the form in which it is kept.

    A `kind` of "duration" keeps text (empty for 0), "nanoseconds" an integer. DecodeError if `value` is no duration.
    """
    try:
        length = parse_duration(value) if isinstance(value, str) else int(value)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    return (format_duration(length) if length else "") if kind == "duration" else length
