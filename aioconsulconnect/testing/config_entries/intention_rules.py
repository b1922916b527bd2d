"""The rules for intentions, with refusals in Consul's words."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from aioconsulconnect.testing.go_json.errors import errors
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, text, texts
from aioconsulconnect.testing.version_facts import VersionFacts

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_MOST_META, _LONGEST_KEY, _LONGEST_VALUE = 64, 128, 512
PARTIAL = "wildcard character '*' cannot be used with partial values"


def is_partial(name: str) -> bool:
    """True if a name has a wildcard and more."""
    return "*" in name and name != "*"


def legacy_complaints(intention: Object) -> Iterator[str]:
    """Every reason to refuse an intention written by the API by uuid; Consul lists them all."""
    for side in ("Source", "Destination"):
        for part in ("NS", "Name"):
            if not text(intention, f"{side}{part}"):
                yield f"{side}{part} must be set"
    for side in ("Source", "Destination"):
        namespace, name = text(intention, f"{side}NS"), text(intention, f"{side}Name")
        for part, value in (("NS", namespace), ("Name", name)):
            if is_partial(value):
                yield f"{side}{part}: {PARTIAL}"
        if name != "*" and namespace == "*":
            yield f"{side}Name: exact value cannot follow wildcard namespace"
    yield from _lengths(intention)
    if intention.get("Permissions"):
        yield "Permissions must not be set when using the legacy APIs"
    if text(intention, "Action") not in {"allow", "deny"}:
        yield "Action must be set to 'allow' or 'deny'"
    if text(intention, "SourceType") != "consul":
        yield "SourceType must be set to 'consul'"


def _lengths(intention: Object) -> Iterator[str]:
    description, meta = text(intention, "Description"), child(intention, "Meta")
    if len(description.encode()) > _LONGEST_VALUE:
        yield f"Description exceeds maximum length {_LONGEST_VALUE}"
    if len(meta) > _MOST_META:
        yield f"Meta exceeds maximum element count {_MOST_META}"
    for key, value in meta.items():
        if len(key.encode()) > _LONGEST_KEY:
            yield f'Meta key "{key}" exceeds maximum length {_LONGEST_KEY}'
        if len(str(value).encode()) > _LONGEST_VALUE:
            yield f'Meta value for key "{key}" exceeds maximum length {_LONGEST_VALUE}'


def meta_complaint(meta: Object) -> str | None:
    """All the reasons to refuse the Meta of a configuration entry; None where there is none."""
    wrong = [f"Meta exceeds maximum element count {_MOST_META}"] if len(meta) > _MOST_META else []
    for key, value in meta.items():
        if len(key.encode()) > _LONGEST_KEY:
            wrong.append(f'Meta key "{key}" exceeds maximum length {_LONGEST_KEY}')
        if len(str(value).encode()) > _LONGEST_VALUE:
            wrong.append(f'Meta value for key "{key}" exceeds maximum length {_LONGEST_VALUE}')
    return errors(wrong) if wrong else None


def entry_complaint(entry: Object, facts: VersionFacts, *, legacy: bool = False) -> str | None:
    """The first reason to refuse the service-intentions `entry`; None where there is none.

    `facts` is the version; `legacy` is true for a write by the API by uuid, which may set LegacyMeta.
    """
    name, sources = text(entry, "Name"), children(entry, "Sources")
    if not name:
        return "Name is required"
    if is_partial(name):
        return f"Name: {PARTIAL}"
    if complaint := meta_complaint(child(entry, "Meta")):
        return complaint
    if not sources:
        return "At least one source is required"
    seen: Counter[tuple[str, str]] = Counter()
    for at, source in enumerate(sources):
        complaints = chain(
            _source_complaints(source, name, legacy=legacy),
            _permission_complaints(source, facts),
            _twice(source, seen),
        )
        if complaint := next(complaints, None):
            return f"Sources[{at}]{complaint}"
    return None


def _source_complaints(source: Object, destination: str, *, legacy: bool) -> Iterator[str]:
    name, action, permissions = text(source, "Name"), text(source, "Action"), source.get("Permissions")
    if not name:
        yield ".Name is required"
    if is_partial(name):
        yield f".Name: {PARTIAL}"
    if "*" in text(source, "Peer"):
        yield ".Peer: cannot use wildcard '*' in peer"
    if text(source, "SamenessGroup"):
        yield ".SamenessGroup: Sameness groups are a Consul Enterprise feature. "
    if len(text(source, "Description").encode()) > _LONGEST_VALUE:
        yield f".Description exceeds maximum length {_LONGEST_VALUE}"
    if child(source, "LegacyMeta") and not legacy:
        yield ".LegacyMeta must be omitted"
    if permissions and destination == "*":
        yield ".Permissions cannot be specified on intentions with wildcarded destinations"
    if permissions and action:
        yield ".Action must be omitted if Permissions are specified"
    if not permissions and action not in {"allow", "deny"}:
        yield ".Action must be set to 'allow' or 'deny'"


def _twice(source: Object, seen: "Counter[tuple[str, str]]") -> Iterator[str]:
    if text(source, "Type") != "consul":
        yield ".Type must be set to 'consul'"
    peer, name = text(source, "Peer"), text(source, "Name")
    seen[peer, name] += 1
    if seen[peer, name] > 1:
        yield f' defines peer("{peer}") "{name}" more than once' if peer else f' defines "{name}" more than once'


def _permission_complaints(source: Object, facts: VersionFacts) -> Iterator[str]:
    for at, permission in enumerate(children(source, "Permissions")):
        label = f".Permissions[{at}]"
        if text(permission, "Action") not in {"allow", "deny"}:
            yield f"{label}.Action must be set to 'allow' or 'deny'"
        http = permission.get("HTTP")
        if not is_object(http):
            yield f"{label}.HTTP is required"
            continue
        yield from (f"{label}.HTTP{complaint}" for complaint in _http_complaints(http, facts))


def _http_complaints(http: Object, facts: VersionFacts) -> Iterator[str]:
    paths = [kind for kind in ("PathExact", "PathPrefix", "PathRegex") if http.get(kind)]
    for kind in paths:
        if kind != "PathRegex" and not text(http, kind).startswith("/"):
            yield f".{kind} doesn't start with '/': \"{text(http, kind)}\""
    if len(paths) > 1:
        yield " should only contain at most one of PathExact, PathPrefix, or PathRegex"
    for at, header in enumerate(children(http, "Header")):
        yield from (f".Header[{at}]{complaint}" for complaint in _header_complaints(header, facts))
    methods = texts(http, "Methods")
    for at, method in enumerate(methods):
        if method not in _METHODS:
            yield f'.Methods contains an invalid method "{method}"'
        if method in methods[:at]:
            yield f'.Methods contains "{method}" more than once'
    if not paths and not methods and not children(http, "Header"):
        yield " should not be empty"


def _header_complaints(header: Object, facts: VersionFacts) -> Iterator[str]:
    kinds = [kind for kind in ("Present", "Exact", "Prefix", "Suffix", "Contains", "Regex") if header.get(kind)]
    if not text(header, "Name"):
        yield " missing required Name field"
    if len(kinds) != 1:
        yield f" should only contain one of {facts.header_kinds}"
    if header.get("IgnoreCase") and kinds[0] in {"Present", "Regex"}:
        yield " should set one of Exact, Prefix, Suffix, or Contains when using IgnoreCase"


def jwt_complaints(entry: Object, known: frozenset[str]) -> Iterator[str]:
    """The reasons to refuse the JWT requirements in the service-intentions `entry`.

    `known` has the names of the JWT providers, in lower case.
    """
    requirements = chain(
        [child(entry, "JWT")],
        (child(p, "JWT") for source in children(entry, "Sources") for p in children(source, "Permissions")),
    )
    for provider in (p for requirement in requirements for p in children(requirement, "Providers")):
        name = text(provider, "Name")
        if not name:
            yield "JWT provider name is required"
        elif name.lower() not in known:
            yield f"Referenced JWT Provider does not exist. Provider Name: {name}"
