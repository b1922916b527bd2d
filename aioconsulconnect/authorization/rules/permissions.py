"""
Permissions of an L7 intention, compiled: conditions on path, method, headers and claims.

A condition is True, False, or None where it is not known. All parts of a condition must hold, so one that is False
settles it whatever is not known of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from aioconsulconnect.authorization.rules.regex import Regex, compile_regex
from aioconsulconnect.authorization.rules.request import Seen
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.intentions import HeaderPermission, HTTPPermission, JWTRequirement, Permission

Claims = Mapping[str, Mapping[str, object]]
"""Verified claims of a request's tokens, by the name of the `jwt-provider` that issued them."""

_SHORT = 256  # characters of a header up to which a comparison takes less than a microsecond
_STEPS_OF_A_LINE = 20
_VALUE_KINDS: Final = ("exact", "regex", "prefix", "suffix", "contains")


class Condition:
    """
    Condition of one permission, and what it decides.

    - `permission`: the permission.
    - `index`: its index in the intention.
    """

    __slots__ = (
        "_exact",
        "_has_path_regex",
        "_headers",
        "_methods",
        "_path_regex",
        "_prefix",
        "allows",
        "flaw",
        "index",
        "jwt",
        "permission",
    )

    def __init__(self, permission: Permission, index: int) -> None:
        http = permission.http or HTTPPermission()
        self.permission: Permission = permission
        self.index: int = index
        self.allows: bool = permission.action == "allow"
        self.jwt: JWTRequirement | None = (
            permission.jwt if permission.jwt is not None and requires(permission.jwt) else None
        )
        self.flaw: Reason | None = _flaw(permission)
        self._exact, self._prefix = http.path_exact, http.path_prefix
        self._has_path_regex = bool(http.path_regex)
        self._path_regex = compile_regex(http.path_regex) if http.path_regex else None
        self._methods = frozenset(http.methods)
        self._headers = tuple(Header(header) for header in http.header)

    def matches(self, seen: Seen, *, all_versions: bool) -> bool | Reason:
        """
        Return True if the HTTP part matches a request, or the reason why that is not known.

        - `seen`: the request.
        - `all_versions`: True if all versions of Envoy have to agree.
        """
        if self.flaw is not None:
            return self.flaw
        if (self._exact and seen.path != self._exact) or not seen.path.startswith(self._prefix):
            return False
        if self._methods and seen.request.method not in self._methods:
            return False
        unknown: Reason | None = None
        for header in self._headers:
            found = header.matches(seen, all_versions=all_versions)
            if found is False:
                return False
            if found is not True:
                unknown = found
        if self._has_path_regex:
            regex = self._path_regex
            fits = None if regex is None else regex.matches(seen.path, seen.budget, all_versions=all_versions)
            if fits is False:
                return False
            if fits is None:
                unknown = Reason.REGEX_UNKNOWN
        return True if unknown is None else unknown

    def regexes(self) -> tuple[tuple[str, Regex | None], ...]:
        """The regular expressions in it, each with its compiled form or None."""
        http = self.permission.http
        paths = ((http.path_regex, self._path_regex),) if http is not None and http.path_regex else ()
        return paths + tuple((header.text, header.regex) for header in self._headers if header.kind == "regex")


class Header:
    """
    Condition on a header.

    - `permission`: the condition as Consul has it.
    """

    __slots__ = ("_ignore_case", "_invert", "_name", "kind", "regex", "text")

    def __init__(self, permission: HeaderPermission) -> None:
        self._name = permission.name.lower()
        self._invert = permission.invert
        self._ignore_case = permission.ignore_case
        self.kind: str = next((kind for kind in _VALUE_KINDS if getattr(permission, kind)), "present")
        self.text: str = "" if self.kind == "present" else str(getattr(permission, self.kind))
        self.regex: Regex | None = compile_regex(self.text) if self.kind == "regex" else None

    def matches(self, seen: Seen, *, all_versions: bool) -> bool | Reason:
        """
        Return True if a request fulfils it, or the reason why that is not known.

        - `seen`: the request.
        - `all_versions`: True if all versions of Envoy have to agree.
        """
        values = seen.values(self._name)
        if self.kind == "present":
            return (values is None or bool(values)) is not self._invert
        if values is None:
            return Reason.HEADER_UNKNOWN
        if not values:
            return False  # also where inverted (A8)
        is_large = len(values) != 1 or len(values[0]) > _SHORT
        if is_large and self.kind != "regex" and not seen.budget.spend(self._steps(values)):
            return Reason.TOO_COSTLY
        return self._any(values, seen, all_versions=all_versions)

    def _any(self, values: tuple[str, ...], seen: Seen, *, all_versions: bool) -> bool | Reason:
        found: bool | None = False
        for value in values:
            one = self._test(value, seen, all_versions=all_versions)
            if one:
                found = True
                break
            if one is None:
                found = None
        if found is None:
            return Reason.REGEX_UNKNOWN
        result = found is not self._invert
        if all_versions and len(values) > 1:  # before Envoy 1.38.2 they were one value (A9)
            joined = self._test(",".join(values), seen, all_versions=True)
            if joined is None:
                return Reason.REGEX_UNKNOWN
            if (joined is not self._invert) is not result:
                return Reason.VERSIONS_DIFFER
        return result

    def _steps(self, values: tuple[str, ...]) -> int:
        """What the comparison with all of these takes: one that looks through them takes as long as they are."""
        looks_through = self.kind == "contains" or self._ignore_case
        return _STEPS_OF_A_LINE * len(values) + (sum(map(len, values)) if looks_through else 0)

    def _test(self, value: str, seen: Seen, *, all_versions: bool) -> bool | None:
        if self.kind == "regex":
            return None if self.regex is None else self.regex.matches(value, seen.budget, all_versions=all_versions)
        text = self.text
        if self._ignore_case:
            value, text = _lower(value), _lower(text)
        if self.kind == "exact":
            return value == text
        if self.kind == "prefix":
            return value.startswith(text)
        return value.endswith(text) if self.kind == "suffix" else text in value


def _lower(text: str) -> str:
    """Letters of ASCII alone, as Envoy compares them."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")  # bytes know no others


def _flaw(permission: Permission) -> Reason | None:
    """Why what the permission means is not known, if so."""
    http = permission.http
    if http is None or permission.action not in {"allow", "deny"} or http == HTTPPermission():
        return Reason.MALFORMED
    if permission.unknown or http.unknown or any(header.unknown for header in http.header):
        return Reason.FIELD_UNKNOWN
    if permission.jwt is not None and has_unknown_fields(permission.jwt):
        return Reason.FIELD_UNKNOWN
    if sum(map(bool, (http.path_exact, http.path_prefix, http.path_regex))) > 1:
        return Reason.MALFORMED
    return Reason.MALFORMED if any(_is_malformed(header) for header in http.header) else None


def _is_malformed(header: HeaderPermission) -> bool:
    kinds = [kind for kind in ("present", *_VALUE_KINDS) if getattr(header, kind)]
    return not header.name or len(kinds) != 1 or (header.ignore_case and kinds[0] in {"present", "regex"})


def requires(jwt: JWTRequirement) -> bool:
    """Return True if a requirement asks for anything: without providers it does not."""
    return bool(jwt.providers or jwt.unknown)


def has_unknown_fields(jwt: JWTRequirement) -> bool:
    """Return True if a requirement has fields that this version does not know."""
    return bool(jwt.unknown or any(p.unknown or any(claim.unknown for claim in p.verify_claims) for p in jwt.providers))


def is_met(jwt: JWTRequirement | None, claims: Claims | None, issuers: Mapping[str, str] | None) -> bool:
    """
    Return True if verified claims fulfil a requirement: those of any of its providers.

    - `jwt`: the requirement; None for none.
    - `claims`: verified claims by provider; None for no token.
    - `issuers`: issuer of each provider, which the claim `iss` must name; None where that was verified before.
    """
    if jwt is None or not requires(jwt):
        return True
    if not claims or has_unknown_fields(jwt):
        return False
    for provider in jwt.providers:
        payload = claims.get(provider.name)
        if not isinstance(payload, Mapping):
            continue
        if issuers is not None and (provider.name not in issuers or payload.get("iss") != issuers[provider.name]):
            continue
        if all(_claim(payload, claim.path) == claim.value for claim in provider.verify_claims):
            return True
    return False


def _claim(payload: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The claim at a path if it is text, else None: a list that contains the text is not that text (A15)."""
    value: object = payload
    for name in path:
        value = _member(value, name)
    return value if isinstance(value, str) else None


def _member(value: object, name: str) -> object:
    return cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
