"""Paths and queries as Go's HTTP library reads them."""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote_plus, unquote_to_bytes

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ESCAPED: Final = r"%[0-9a-fA-F]{2}"
_USER: Final = re.compile(rf"(?:[\w.~!$&'()*+,;=:@-]|{_ESCAPED})*@", re.ASCII)
_NAME: Final = re.compile(r"(?:[^\x00-\x7f]|[\w.~!$&'()*+,;=:<>\"\]-]|%25|%[89A-Fa-f][0-9a-fA-F])*", re.ASCII)


def parse_url(text: str) -> tuple[str, str, str] | None:
    """The scheme in lower case, the host and the escaped path of a URL; None where Go refuses it."""
    text, _, fragment = text.partition("#")
    if re.search(r"[\x00-\x1f\x7f]", text + fragment) or not well_escaped(fragment):
        return None
    found = _SCHEME.match(text)
    scheme, rest = (found[1].lower(), text[found.end() :]) if found else ("", text)
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        return scheme, "", ""  # what has no slash after its scheme has no path
    authority, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    user, at, host = authority.rpartition("@")
    if not _is_host(host) or not (at == "" or _USER.fullmatch(user + at)) or not well_escaped(path):
        return None
    return scheme, host, slash + path


def _is_host(host: str) -> bool:
    """True if Go takes `host`, with its port, as newer versions of Go do: brackets hold an IPv6 address alone."""
    bracketed = re.fullmatch(r"\[([^]]*)\](:\d*)?", host)
    if bracketed is None:
        name, colon, port = host.rpartition(":")
        return bool(_NAME.fullmatch(name + port)) and (not colon or re.fullmatch(r"\d*", port) is not None)
    try:
        ipaddress.IPv6Address(bracketed[1].replace("%25", "%"))
    except ValueError:
        return False
    return True


def parse_query(raw: str, *, semicolon_separates: bool) -> dict[str, list[str]] | None:
    """Read the parameters of the query `raw`, by name; None where it is malformed.

    `semicolon_separates` makes a semicolon separate parameters, as older versions of Go do.
    """
    query: dict[str, list[str]] = {}
    for pair in re.split("[&;]" if semicolon_separates else "&", raw):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if ";" in pair or not well_escaped(pair):
            return None
        query.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return query


def well_escaped(escaped: str) -> bool:
    """True if every percent sign begins an escape."""
    return not re.search(r"%(?![0-9a-fA-F]{2})", escaped)


def unescape(path: str) -> str:
    """Decode the escapes of a path."""
    return unquote_to_bytes(path).decode("utf-8", "replace")


def clean(path: str) -> str:
    """Remove doubled slashes and dot segments from a path, as Go's redirect does."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    slash = "/" if path.endswith("/") and parts else ""
    return "/" + "/".join(parts) + slash
