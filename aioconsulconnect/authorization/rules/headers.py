"""Headers as Envoy takes them: those it refuses, and those it hides from its rules (A12)."""

from __future__ import annotations

import re
from functools import lru_cache

from aioconsulconnect.authorization.rules.request import Pairs
from aioconsulconnect.authorization.rules.verdict import Reason

MOST_BYTES = 60 * 1024
"""The size of a request up to its body above which Envoy answers 431."""

_MOST_LINES = 100  # with that of Host
_USUAL = 1024  # characters of the names of a request, up to which they are remembered
_LINE = len(": \r\n")

UNSEEN = frozenset(
    {
        # Those of one hop alone.
        "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade",
        # Those by which Envoys tell each other what to do.
        "x-envoy-decorator-operation", "x-envoy-expected-rq-timeout-ms", "x-envoy-force-trace",
        "x-envoy-hedge-on-per-try-timeout", "x-envoy-internal", "x-envoy-ip-tags", "x-envoy-max-retries",
        "x-envoy-retriable-header-names", "x-envoy-retriable-status-codes", "x-envoy-retry-grpc-on",
        "x-envoy-retry-on", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-upstream-rq-timeout-alt-response", "x-envoy-upstream-rq-timeout-ms",
    }
)  # fmt: skip
"""Headers that no rule sees, but for `te: trailers` and `upgrade: websocket`."""

# What `connection` must not name: Envoy answers 400.
_NOT_OF_A_HOP = frozenset({"host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})
_HANDLED = UNSEEN | {"content-length"}

# Everything below is linear in the length of the text: no pattern has two ways to match the same thing.
_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_NAMES = re.compile(rf"{_NAME}(?:\n{_NAME})*")
_CONTROL = re.compile(r"[\0-\x08\n-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9!$%&'()*+,.:;=@\[\]_~-]*")
_DIGITS = re.compile(r"[0-9]+")


def visible_headers(pairs: Pairs, underscores: str, *, rest: int) -> Pairs | Reason:
    """
    Return the headers that rules see, or the reason why no rule sees the request.

    It is the same object where they see all.

    - `pairs`: the headers as they came.
    - `underscores`: what is done with names that have an underscore: "allow", "reject" or "drop".
    - `rest`: bytes of the request beside them.
    """
    each_name, each_value = zip(*pairs, strict=True)
    names, values = "\n".join(each_name), "".join(each_value)
    size = len(names) + len(values) + (_LINE - 1) * len(pairs) + 1 + rest
    if size > MOST_BYTES or (not values.isascii() and size - len(values) + _bytes(values) > MOST_BYTES):
        return Reason.REQUEST_REFUSED
    about = _remembered(names) if len(names) <= _USUAL else _Names(names)
    if about.count != len(pairs) or (not values.isprintable() and _CONTROL.search(values)):
        return Reason.REQUEST_REFUSED
    if about.host is not None and not _HOST.fullmatch(pairs[about.host][1].strip(" \t")):
        return Reason.REQUEST_REFUSED
    if underscores != "allow" and about.has_underscore:
        if underscores == "reject":
            return Reason.REQUEST_REFUSED
        pairs = tuple(pair for pair in pairs if "_" not in pair[0])
    return _without_hidden(pairs) if about.has_handled else pairs


class _Names:
    """
    What is known of the names of headers alone, which are the same in most requests.

    - `text`: the names, one a line.

    Attributes: `count`, how many they are, 0 where Envoy refuses them; `host`, the index of Host, None where it is not
    among them; `has_underscore`; `has_handled`, True if some of them are more than a name and a value.
    """

    __slots__ = ("count", "has_handled", "has_underscore", "host")

    def __init__(self, text: str) -> None:
        names = text.lower().split("\n")
        hosts = names.count("host")
        is_refused = not _NAMES.fullmatch(text) or hosts > 1 or len(names) + (not hosts) > _MOST_LINES
        self.count = 0 if is_refused else len(names)
        self.host = names.index("host") if hosts else None
        self.has_underscore = "_" in text
        self.has_handled = not _HANDLED.isdisjoint(names)


_remembered = lru_cache(1024)(_Names)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _without_hidden(pairs: Pairs) -> Pairs | Reason:
    lines: dict[str, list[str]] = {}
    for name, value in pairs:
        lines.setdefault(name.lower(), []).append(value.strip(" \t"))
    if not _has_sound_length(lines.get("content-length", []), lines.get("transfer-encoding", [])):
        return Reason.REQUEST_REFUSED
    named = {token.lower() for token in _tokens(lines.get("connection", []))}
    if not named.isdisjoint(_NOT_OF_A_HOP) or any(token.startswith(":") for token in named):
        return Reason.REQUEST_REFUSED
    hidden = UNSEEN | named
    if "websocket" in map(str.lower, lines.get("upgrade", ())):
        hidden -= {"upgrade"}
    if hidden.isdisjoint(lines):
        return pairs
    seen = tuple(pair for pair in pairs if pair[0].lower() not in hidden)
    return (*seen, ("te", "trailers")) if "trailers" in _tokens(lines.get("te", [])) else seen


def _tokens(values: list[str]) -> set[str]:
    return {token.strip(" \t") for value in values for token in value.split(",")}


def _has_sound_length(lengths: list[str], codings: list[str]) -> bool:
    """True if the length of the body is stated in the one way, or in the other, or not at all."""
    if codings:
        return not lengths and [coding.lower() for coding in codings] == ["chunked"]
    return not lengths or (len(lengths) == 1 and _DIGITS.fullmatch(lengths[0]) is not None)
