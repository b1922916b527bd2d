"""
Normalization of a request as Envoy does it, before rules are held against it.

A rule for `/admin` is worth nothing if `/x/../admin` passes it, so the path that is judged is the one to serve.
"""

from __future__ import annotations

import re

import msgspec

from aioconsulconnect.authorization.rules.headers import MOST_BYTES, visible_headers
from aioconsulconnect.authorization.rules.request import HTTPRequest, Pairs, Seen
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization

# Everything below is linear in the length of the text: no pattern has two ways to match the same thing.
_SEGMENT = r"[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*"
_PLAIN = re.compile(rf"((?:/(?:{_SEGMENT})?)+)(?:\?[!\"$-~]*)?")  # a path that no setting changes, and any query
_FORBIDDEN = re.compile(r"[^!-~]|#")  # control characters, space, DEL, bytes beyond ASCII, a fragment
_ABSOLUTE = re.compile(
    r"[Hh][Tt][Tt][Pp][Ss]?://(?:[A-Za-z0-9._~:%!$&'()*+,;=-]*@)?"  # a user, who goes no further
    r"((?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?)(/.*)?"
)
_ESCAPED_SLASH = re.compile(r"%2[Ff]|%5[Cc]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|[\"<>^`{|}]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOTS = re.compile(r"(?:\.|%2[Ee]){1,2}")
_DOTS_WITH_PARAMETER = re.compile(r"\.{1,2};")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# All that Envoy knows; it answers 400 to any other, and to these in lower case.
_METHODS = frozenset(
    {
        "ACL", "BIND", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR",
        "MKCOL", "MOVE", "MSEARCH", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT",
        "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    }
)  # fmt: skip
_REQUEST_LINE = len("  HTTP/1.1\r\n") + len("\r\n")  # beside the method and the target, with the last empty line

_SLASHES = {
    "": "keep", "IMPLEMENTATION_SPECIFIC_DEFAULT": "keep", "KEEP_UNCHANGED": "keep", "REJECT_REQUEST": "reject",
    "UNESCAPE_AND_REDIRECT": "redirect", "UNESCAPE_AND_FORWARD": "forward",
}  # fmt: skip
_UNDERSCORES = {"": "allow", "ALLOW": "allow", "REJECT_REQUEST": "reject", "DROP_HEADER": "drop"}

CONSULS_DEFAULT = RequestNormalization()
"""What holds without a mesh entry, from Consul 1.20.1 on."""


class Normalizer:
    """
    Normalization with the settings of the mesh entry.

    - `settings`: these settings; None where they are not known.
    """

    __slots__ = ("_flaw", "_settings", "_slashes", "_underscores")

    def __init__(self, settings: RequestNormalization | None) -> None:
        is_there = settings is not None
        self._settings = settings = settings or CONSULS_DEFAULT
        self._slashes = _SLASHES.get(settings.path_with_escaped_slashes_action, "")
        self._underscores = _UNDERSCORES.get(settings.headers_with_underscores_action, "")
        is_known = self._slashes and self._underscores and not settings.unknown
        self._flaw = (None if is_known else Reason.FIELD_UNKNOWN) if is_there else Reason.NORMALIZATION_UNKNOWN

    def normalize(self, request: HTTPRequest) -> Seen | Reason:
        """Return a request as rules see it, or the reason why no rule ever sees it."""
        if self._flaw is not None:
            return self._flaw
        given = pairs = request.pairs
        target = request.path
        rest = len(request.method) + len(target) + _REQUEST_LINE
        if request.method not in _METHODS or rest > MOST_BYTES:
            return Reason.REQUEST_REFUSED
        if pairs:
            found = visible_headers(pairs, self._underscores, rest=rest)
            if isinstance(found, Reason):
                return found
            pairs = found
        plain = _PLAIN.fullmatch(target)
        if plain is not None and not (self._settings.merge_slashes and "//" in plain[1]):
            return Seen(request if pairs is given else _as_judged(request, target, pairs), plain[1])
        return self._from_odd(request, target, pairs)

    def _from_odd(self, request: HTTPRequest, target: str, pairs: Pairs) -> Seen | Reason:
        """Normalize a target that is not the plain path that nearly all are."""
        if _FORBIDDEN.search(target):
            return Reason.REQUEST_REFUSED
        if not target.startswith("/"):
            absolute = _ABSOLUTE.fullmatch(target)
            if absolute is None:
                return Reason.REQUEST_REFUSED
            pairs = (("host", absolute[1]), *(pair for pair in pairs if pair[0].lower() != "host"))
            target = absolute[2] or "/"
        path, question, query = target.partition("?")
        normal = _normal_path(path, self._settings, self._slashes)
        if isinstance(normal, Reason):
            return normal
        return Seen(_as_judged(request, normal + question + query, pairs), normal)


def _as_judged(request: HTTPRequest, target: str, pairs: Pairs) -> HTTPRequest:
    """The request itself where nothing is different, so that the usual case makes no copy."""
    if target is request.path and pairs is request.pairs:
        return request
    return msgspec.structs.replace(request, path=target, headers=pairs)


def _normal_path(path: str, settings: RequestNormalization, slashes: str) -> str | Reason:
    is_redirected = False
    if slashes != "keep" and _ESCAPED_SLASH.search(path):
        if slashes == "reject":
            return Reason.REQUEST_REFUSED
        is_redirected = slashes == "redirect"
        path = path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "\\").replace("%5c", "\\")
    if not settings.insecure_disable_path_normalization:
        normal = canonical_path(path)
        if normal is None:
            return Reason.VERSIONS_DIFFER
        if "%00" in path:
            return Reason.REQUEST_REFUSED
        path = normal
    if settings.merge_slashes and "//" in path:
        inner = "/".join(segment for segment in path.split("/") if segment)
        path = f"/{inner}/" if path.endswith("/") else f"/{inner}"  # of slashes alone two are left
    return Reason.REQUEST_REDIRECTED if is_redirected else path


def canonical_path(path: str) -> str | None:
    """
    Return the canonical form of a path that starts with a slash.

    Dot segments are resolved, and escapes are undone as far as that is possible. It is None where versions of Envoy
    differ, or where the result could be taken for another path (A11).
    """
    kept: list[str] = []
    segments = path.replace("\\", "/").split("/")[1:]
    last = len(segments) - 1
    for i, segment in enumerate(segments):
        if _DOTS.fullmatch(segment):
            if segment.lower().replace("%2e", ".") == ".." and kept:
                kept.pop()
            if i == last:
                kept.append("")
        elif _DOTS_WITH_PARAMETER.match(segment):
            return None
        else:
            plain = _ESCAPE.sub(_unescaped, segment)
            if plain != segment and _BROKEN_ESCAPE.search(segment):
                return None
            kept.append(plain)
    return "/" + "/".join(kept)


def _unescaped(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        return f"%{ord(match[0]):02X}"
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else match[0]
