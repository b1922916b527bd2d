"""Rules of Consul for intentions, told by the name of the field before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.containers import is_array
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown, fields_of
from aioconsulconnect.structs.intentions import Action, HeaderPermission, HTTPPermission, JWTRequirement, Permission

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})


def check_rule(action: Action | None, permissions: tuple[Permission, ...], *, destination: str) -> None:
    """
    Raise InvalidRequest for an action and permissions that Consul would refuse.

    - `action`, `permissions`: exactly one of the two must be given, in a form that Consul takes.
    - `destination`: name of the destination; permissions are refused for `*`.
    """
    if action is not None and permissions:
        raise InvalidRequest("action must be left out where permissions are given: each permission has its own")
    if action is None and not permissions:
        raise InvalidRequest("action must be 'allow' or 'deny', or permissions must be given")
    if action is not None:
        _check_action("action", action)
    if permissions and destination.rpartition("/")[2] == "*":
        raise InvalidRequest("permissions cannot be given for the destination '*'")
    for i, permission in enumerate(permissions):
        check_types(permission, f"permissions[{i}]")
        _check_permission(f"permissions[{i}]", permission)


def check_description(description: str, meta: Mapping[str, str]) -> None:
    """
    Raise InvalidRequest for texts beyond Consul's limits.

    - `description`: at most 512 bytes.
    - `meta`: at most 64 keys of 128 bytes, with values of 512 bytes.
    """
    if _size("description", description) > 512:  # noqa: PLR2004 - Consul's limit
        raise InvalidRequest("description is longer than 512 bytes")
    if not isinstance(meta, Mapping):
        raise InvalidRequest(f"meta takes a mapping of texts, not {meta!r:.40}")
    if len(meta) > 64:  # noqa: PLR2004 - Consul's limit
        raise InvalidRequest("meta has more than 64 keys")
    for key, value in meta.items():
        if _size("a key of meta", key) > 128 or _size(f"meta[{key[:40]!r}]", value) > 512:  # noqa: PLR2004 - as above
            raise InvalidRequest(f"meta[{key[:40]!r}]: keys have at most 128 bytes, values at most 512")


def check_jwt(field: str, jwt: JWTRequirement | None) -> None:
    """
    Raise InvalidRequest for a requirement that Consul would refuse.

    - `field`: name of the field, for the error.
    - `jwt`: the requirement, None for none.
    """
    for i, provider in enumerate(jwt.providers if jwt else ()):
        if not provider.name:
            raise InvalidRequest(f"{field}.providers[{i}].name is required: the name of a jwt-provider entry")


def check_types(value: KeepsUnknown, path: str = "") -> None:
    """
    Raise InvalidRequest for a field of a struct, or of one inside it, with a value of a wrong type.

    `action` and `meta` are left to `check_rule` and `check_description`, which say more.

    - `value`: the struct.
    - `path`: path of the struct itself, for the error; default: its fields are named alone.
    """
    for field in fields_of(type(value)):
        given = getattr(value, field.name)
        if given is field.default or field.name in {"action", "meta"}:
            continue
        at = f"{path}.{field.name}" if path else field.name
        try:
            fitting: object = msgspec.convert(given, field.type)
        except msgspec.ValidationError as error:
            wrong, _, inside = str(error).partition(" - at `$")
            raise InvalidRequest(f"{at}{inside.rstrip('`')}: {wrong}") from error
        if not is_array(fitting):
            _check_part(given, fitting, at)
            continue
        for i, (item, part) in enumerate(zip(given, fitting, strict=True)):
            _check_part(item, part, f"{at}[{i}]")


def _check_part(given: object, fitting: object, path: str) -> None:
    """Check a struct inside another one; msgspec takes a mapping for it too."""
    if isinstance(fitting, KeepsUnknown):
        if fitting is not given:
            raise InvalidRequest(f"{path} takes {type(fitting).__name__}, not {given!r:.40}")
        check_types(fitting, path)


def _size(field: str, text: object) -> int:
    if not isinstance(text, str):
        raise InvalidRequest(f"{field} takes text, not {text!r:.40}")
    return len(text.encode("utf-8", "surrogatepass"))  # what is no text is refused where it would be sent


def _check_action(field: str, action: object) -> None:
    if action not in ("allow", "deny"):  # it may be something that cannot be hashed
        raise InvalidRequest(f"{field} must be 'allow' or 'deny' (in lower case), not {action!r}")


def _check_permission(field: str, permission: Permission) -> None:
    _check_action(f"{field}.action", permission.action)
    http = permission.http
    if http is None or http == HTTPPermission():
        raise InvalidRequest(f"{field}.http must say at least a path, a method or a header")
    paths = {name: getattr(http, name) for name in ("path_exact", "path_prefix", "path_regex") if getattr(http, name)}
    if len(paths) > 1:
        raise InvalidRequest(f"{field}.http: give only one of {', '.join(paths)}")
    for name, path in paths.items():
        if name != "path_regex" and not path.startswith("/"):
            raise InvalidRequest(f"{field}.http.{name} must start with '/': {path!r}")
    _check_methods(f"{field}.http.methods", http.methods)
    for i, header in enumerate(http.header):
        _check_header(f"{field}.http.header[{i}]", header)
    check_jwt(f"{field}.jwt", permission.jwt)


def _check_methods(field: str, methods: tuple[str, ...]) -> None:
    upper = [method.upper() for method in methods]
    for method in upper:
        if method not in METHODS:
            raise InvalidRequest(f"{field}: {method!r} is none of {', '.join(sorted(METHODS))}")
    if len(set(upper)) < len(upper):
        raise InvalidRequest(f"{field} names a method more than once")


def _check_header(field: str, header: HeaderPermission) -> None:
    if not header.name:
        raise InvalidRequest(f"{field}.name is required")
    kinds = [k for k in ("present", "exact", "prefix", "suffix", "contains", "regex") if getattr(header, k)]
    if len(kinds) != 1:
        given = ", ".join(kinds) or "none"
        raise InvalidRequest(
            f"{field}: give exactly one of present, exact, prefix, suffix, contains, regex (now {given})"
        )
    if header.ignore_case and kinds[0] in {"present", "regex"}:
        raise InvalidRequest(f"{field}.ignore_case goes with exact, prefix, suffix or contains, not with {kinds[0]}")
