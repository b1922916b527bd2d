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
_LONGEST: Final = 2**63 - 1
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


def parse_duration(value: str, *, quotes: bool = True) -> int:
    """Read a Go duration, such as `1m30s`, in nanoseconds; ValueError where `value` is none.

    The words are Go's: with `quotes`, as of Go 1.15, they escape what they quote, and the least duration is read.
    """
    shown = _quoted if quotes else str
    invalid = ValueError(f'time: invalid duration "{shown(value)}"')
    sign, rest = (-1, value[1:]) if value.startswith("-") else (1, value.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest) and (part := _PART.match(rest, at)) and (part[1] or part[2]):
        whole, fraction, unit = part[1] or "0", part[2] or "0", part[3]
        if unit not in _UNITS:
            wrong = f'unknown unit "{shown(unit)}"' if unit else "missing unit"
            raise ValueError(f'time: {wrong} in duration "{shown(value)}"')
        total += int(whole) * _UNITS[unit] + int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        at = part.end()
    if at < len(rest) or not rest or total > _LONGEST + (quotes and sign < 0):
        raise invalid
    return sign * total


def _quoted(words: str) -> str:
    """Escape text as Go does in errors about durations: quotes, control characters and every byte beyond ASCII."""
    escaped = (
        f"\\x{byte:02x}" if byte < 0x20 or byte >= 0x80 else "\\" * (chr(byte) in '"\\') + chr(byte)  # noqa: PLR2004
        for byte in words.encode("utf-8", "surrogatepass")
    )
    return "".join(escaped)


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


def read_duration(value: str | float, kind: Literal["duration", "nanoseconds"], *, quotes: bool = True) -> object:
    """Read a duration, given as Go text or as nanoseconds, into the form in which it is kept.

    A `kind` of "duration" keeps text (empty for 0), "nanoseconds" an integer. DecodeError if `value` is no duration;
    `quotes` is as for `parse_duration`. A number that is too large becomes the least duration, as on most processors.
    """
    try:
        length = parse_duration(value, quotes=quotes) if isinstance(value, str) else int(float(value))
    except ValueError as error:
        raise DecodeError(str(error)) from error
    length = length if abs(length) <= _LONGEST else -_LONGEST - 1
    return (format_duration(length) if length else "") if kind == "duration" else length
