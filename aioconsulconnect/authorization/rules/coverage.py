"""
Coverage: permissions that can match nothing at all, or whatever another one matches.

Both are told only where they are certain; of two regular expressions it is nearly never known.
"""

from __future__ import annotations

import re

from aioconsulconnect.authorization.rules.headers import MOST_BYTES, UNSEEN
from aioconsulconnect.authorization.rules.normalization import Normalizer
from aioconsulconnect.authorization.rules.permissions import Condition
from aioconsulconnect.authorization.rules.regex import Budget
from aioconsulconnect.authorization.rules.request import PROXYS, HTTPRequest, Seen
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.intentions import HeaderPermission, HTTPPermission

# Nothing.


def why_never(http: HTTPPermission, normalizer: Normalizer) -> str:
    """
    Return why no request matches the HTTP part of a permission, or nothing.

    - `http`: the HTTP part, of a form that Consul takes.
    - `normalizer`: normalization with the settings of the mesh entry.
    """
    if isinstance(normalizer.normalize(HTTPRequest("GET", "/")), Reason):
        return ""  # nothing is known of what a request looks like
    methods = [one for one in http.methods if isinstance(normalizer.normalize(HTTPRequest(one, "/")), Seen)]
    if http.methods and not methods:
        return f"Envoy knows no method {', '.join(map(repr, http.methods))}; those that it knows are in upper case"
    shortest = min(methods or ["GET"], key=len)
    return _why_no_path(http, normalizer, shortest) or _why_no_headers(http.header, normalizer)


def _why_no_path(http: HTTPPermission, normalizer: Normalizer, method: str) -> str:
    path = http.path_exact or http.path_prefix
    if not path or path.startswith("*"):
        return ""
    # Normalization does not change what it made, so a path that exists is one that stays as it is. What a prefix cuts
    # off in the middle, such as `/.` or `%2`, is ended by a letter that gives it no other meaning.
    for end in ("",) if http.path_exact else ("", "z"):
        seen = normalizer.normalize(HTTPRequest(method, path + end))
        if seen is Reason.VERSIONS_DIFFER:
            return ""
        if isinstance(seen, Seen) and (seen.path == path or (not http.path_exact and seen.path.startswith(path))):
            return ""
    short = path if len(path) <= 80 else f"{path[:80]}..."  # noqa: PLR2004 - it may be on its way into a log
    odd = sorted({repr(letter) for letter in path if letter in "?#" or not "!" <= letter <= "~"})
    if odd:
        return f"no path has {', '.join(odd)} when rules see it"
    if not path.startswith("/"):
        return f"a path begins with '/', not as {short!r} does"
    if len(path) > MOST_BYTES - 100:
        return f"Envoy refuses requests above {MOST_BYTES} bytes, and the path has {len(path)}"
    return f"after its normalization no path is {short!r}, or begins so"


def _why_no_headers(headers: tuple[HeaderPermission, ...], normalizer: Normalizer) -> str:
    missing = {header.name.lower() for header in headers if header.present and header.invert}
    for header in headers:
        name = header.name.lower()
        if header.present and header.invert:
            if name in PROXYS or name in {":path", ":method"}:
                return f"the header {name!r} is always there"
        elif name in missing:
            return f"the header {name!r} would have to be there, and not to be there"
        elif not name.startswith(":") and not _can_be_seen(name, normalizer):
            if name in UNSEEN:
                return f"rules never see the header {name!r}"
            if "_" in name:
                return f"headers with underscores are dropped or refused, and {name!r} has one"
            return f"no request has a header of the name {name!r}"
    return ""


def _can_be_seen(name: str, normalizer: Normalizer) -> bool:
    """True if rules see a header with some value: some headers have only one that they see."""
    for value in ("1", "trailers", "websocket"):
        seen = normalizer.normalize(HTTPRequest("GET", "/", ((name, value),)))
        if isinstance(seen, Seen) and seen.values(name) != ():
            return True
    return False


# All that another one does.

_TEXT = r"(?:[A-Za-z0-9/_~%&=@:;,!'-]|\\[!-/:-@\[-^`{-~])"  # what stands for itself in a regular expression
_WHOLE = re.compile(rf"\^?({_TEXT}*)(\.\*)?\$?")
_BEGIN = re.compile(rf"\^?((?:{_TEXT}(?![*?+{{]))*)")
_ESCAPED = re.compile(r"\\(.)")


class Extent:
    """
    Extent of a permission: what it matches, in a form in which it can be compared with that of another.

    - `condition`: the compiled permission.

    Attributes: `begin`, text with which every path that it matches begins; `is_exact`, True if that is all of the path;
    `regex`, the regular expression of the path, empty where `begin` and `is_exact` say all of it.
    """

    __slots__ = ("_condition", "_headers", "_methods", "begin", "is_exact", "regex")

    def __init__(self, condition: Condition) -> None:
        http = condition.permission.http or HTTPPermission()
        self._condition = condition
        self._methods = frozenset(http.methods)
        self._headers = http.header
        self.is_exact: bool = bool(http.path_exact)
        self.begin: str = http.path_exact or http.path_prefix
        self.regex: str = ""
        if http.path_regex:
            self._read(http.path_regex)
        if self.begin == "/" and not self.is_exact and not self.regex:
            self.begin = ""  # every path begins so

    def _read(self, regex: str) -> None:
        whole, begin = _WHOLE.fullmatch(regex), _BEGIN.match(regex)
        if whole is not None:
            self.begin, self.is_exact = _ESCAPED.sub(r"\1", whole[1]), not whole[2]
            return
        self.regex = regex
        if begin is not None and "|" not in regex:
            self.begin = _ESCAPED.sub(r"\1", begin[1])

    @property
    def is_everything(self) -> bool:
        """True if it matches every request."""
        return self._condition.flaw is None and not (
            self.begin or self.is_exact or self.regex or self._methods or self._headers
        )

    def covers(self, other: Extent) -> bool:
        """Return True if it surely matches whatever `other` does."""
        if self._methods and not (other._methods and other._methods <= self._methods):
            return False
        if not self._covers_path(other) or self._condition.flaw is not None or other._condition.flaw is not None:
            return False
        if any(regex is None for _, regex in other._condition.regexes()):
            return False  # one that is not known is reached by other requests too
        return all(any(_covers_header(header, one) for one in other._headers) for header in self._headers)

    def _covers_path(self, other: Extent) -> bool:
        if self.regex:
            if other.is_exact:
                return self._matches(other.begin)
            return self.regex == other.regex
        if self.is_exact:
            return other.is_exact and self.begin == other.begin
        return other.begin.startswith(self.begin)

    def _matches(self, path: str) -> bool:
        regex = self._condition.regexes()[0][1]
        return regex is not None and regex.matches(path, Budget(), all_versions=True) is True


def _covers_header(header: HeaderPermission, other: HeaderPermission) -> bool:
    if header.name.lower() != other.name.lower():
        return False
    if header.present:
        return header.invert is (other.present and other.invert)
    if other.present or header.invert is not other.invert:
        return False
    # Where both are inverted, it is the other one's text that must be the more general one.
    return _implies(header, other) if header.invert else _implies(other, header)


def _implies(header: HeaderPermission, other: HeaderPermission) -> bool:
    """True if each value that has the text of `header` has that of `other` too."""
    if header.regex or other.regex:
        return header.regex == other.regex
    if header.ignore_case and not other.ignore_case:
        return False
    text = header.exact or header.prefix or header.suffix or header.contains
    part = other.exact or other.prefix or other.suffix or other.contains
    if other.ignore_case:
        if not (text.isascii() and part.isascii()):
            return False
        text, part = text.lower(), part.lower()
    if other.contains:
        return part in text
    if other.prefix:
        return bool(header.exact or header.prefix) and text.startswith(part)
    if other.suffix:
        return bool(header.exact or header.suffix) and text.endswith(part)
    return bool(header.exact) and text == part
