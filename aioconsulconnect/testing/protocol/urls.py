"""Paths and queries as Go's HTTP library reads them."""

import re
from urllib.parse import unquote_plus, unquote_to_bytes


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
