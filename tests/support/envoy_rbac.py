"""
Rules of Envoy's RBAC filters for the intentions of one destination, made as Consul's agent makes them.

Written from what Consul documents and what was seen of its agents, without the package's rules, so that an error there
is not repeated here. Only data is read from the intentions. JSON Web Tokens are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aioconsulconnect.structs.intentions import HeaderPermission, Intention, Permission

Json = dict[str, Any]
WILDCARD = "*"
ANY_SEGMENT = "[^/]+"


class Domains(NamedTuple):
    """The own trust domain, and those of the peers whose trust bundle is known."""

    own: str
    peers: Mapping[str, str] = {}


class _Source(NamedTuple):
    peer: str
    partition: str
    namespace: str
    name: str

    @property
    def wildcards(self) -> int:
        return (self.namespace, self.name).count(WILDCARD)

    def contains(self, other: _Source) -> bool:
        """True if `other` is more exact, and everybody whom it means is meant by this one as well."""
        if (self.peer, self.partition) != (other.peer, other.partition) or self.wildcards <= other.wildcards:
            return False
        return self.namespace in {WILDCARD, other.namespace} and self.name in {WILDCARD, other.name}


def rbac(intentions: Sequence[Intention], default: str, destination: str, domains: Domains, *, http: bool) -> Json:
    """
    The value of `rules` in the filter of a service in the default namespace.

    - `http`: True for the HTTP filter, False for the network filter of a service whose protocol is tcp.
    """
    listed: list[tuple[_Source, Intention]] = []
    for intention in sorted(_for(destination, intentions), key=_precedence, reverse=True):
        source = _source_of(intention)
        is_known = not source.peer or source.peer in domains.peers
        if is_known and source not in [earlier for earlier, _ in listed]:
            listed.append((source, intention))
    connections: list[Json] = []
    policies: Json = {}
    for i, (source, intention) in enumerate(listed):
        excluded = [earlier for earlier, _ in listed[:i] if source.contains(earlier)]
        who = _all_of([_who(source, domains, http=http), *(_none_of(_who(e, domains, http=http)) for e in excluded)])
        if not intention.permissions or not http:
            action = "deny" if intention.permissions else intention.action
            if action != default:
                connections.append(who)
            continue
        what = _permissions(intention.permissions, default)
        if what:
            policies[f"requests-{i}"] = {"permissions": what, "principals": [who]}
    if connections:
        policies["connections"] = {"permissions": [{"any": True}], "principals": connections}
    return {"action": "ALLOW" if default == "deny" else "DENY", "policies": policies}


def _for(destination: str, intentions: Sequence[Intention]) -> list[Intention]:
    return [
        one
        for one in intentions
        if one.destination_namespace in {"default", WILDCARD}
        and one.destination_name.lower() in {destination.lower(), WILDCARD}
    ]


def _precedence(intention: Intention) -> tuple[int, int]:
    """More exact destinations first, and among them more exact sources."""
    exact = [
        2 - (namespace, name).count(WILDCARD)
        for namespace, name in (
            (intention.destination_namespace, intention.destination_name),
            (intention.source_namespace, intention.source_name),
        )
    ]
    return exact[0], exact[1]


def _source_of(one: Intention) -> _Source:
    partition = "default" if one.source_peer else one.source_partition or "default"
    return _Source(one.source_peer, partition, one.source_namespace, one.source_name)


# Who calls.


def _who(source: _Source, domains: Domains, *, http: bool) -> Json:
    namespace, name = (ANY_SEGMENT if part == WILDCARD else part for part in (source.namespace, source.name))
    partition = "" if source.partition == "default" else f"/ap/{source.partition}"
    domain = domains.peers[source.peer] if source.peer else domains.own
    uri = f"spiffe://{domain}{partition}/ns/{namespace}/dc/{ANY_SEGMENT}/svc/{name}"
    if not source.peer or not http:
        return _authenticated(f"^{uri}$")
    # A peer's request comes through the mesh gateway, which names the caller in a header.
    forwarded = _header({"name": "x-forwarded-client-cert"}, {"safe_regex": {"regex": f"[^,]*;URI={uri}(,.*)?"}})
    return _all_of([_authenticated(f"^spiffe://{domains.own}/gateway/mesh/dc/{ANY_SEGMENT}$"), forwarded])


def _authenticated(regex: str) -> Json:
    return {"authenticated": {"principal_name": {"safe_regex": {"regex": regex}}}}


def _all_of(principals: list[Json]) -> Json:
    return principals[0] if len(principals) == 1 else {"and_ids": {"ids": principals}}


def _none_of(principal: Json) -> Json:
    return {"not_id": principal}


# What is asked for.


def _permissions(permissions: Sequence[Permission], default: str) -> list[Json]:
    """Each permission that differs from the default, as far as none before it matches."""
    made = []
    for i, permission in enumerate(permissions):
        if permission.action != default:
            before = [{"not_rule": _permission(earlier)} for earlier in permissions[:i]]
            made.append({"and_rules": {"rules": [_permission(permission), *before]}})
    return made


def _permission(permission: Permission) -> Json:
    http = permission.http
    assert http is not None
    rules: list[Json] = []
    if http.path_exact:
        rules.append(_path({"exact": http.path_exact}))
    if http.path_prefix:
        rules.append(_path({"prefix": http.path_prefix}))
    if http.path_regex:
        rules.append(_path({"safe_regex": {"regex": http.path_regex}}))
    rules += [_header_permission(header) for header in http.header]
    if http.methods:
        rules.append(_header({"name": ":method"}, {"safe_regex": {"regex": "|".join(http.methods)}}))
    return {"and_rules": {"rules": rules}}


def _path(matcher: Json) -> Json:
    return {"url_path": {"path": matcher}}


def _header_permission(header: HeaderPermission) -> Json:
    base: Json = {"name": header.name, "invert_match": header.invert}
    if header.present:
        return {"header": base | {"present_match": True}}
    if header.regex:
        return _header(base, {"safe_regex": {"regex": header.regex}})
    kinds = ("exact", "prefix", "suffix", "contains")
    (matcher,) = [{kind: getattr(header, kind)} for kind in kinds if getattr(header, kind)]
    return _header(base, matcher | {"ignore_case": header.ignore_case})


def _header(base: Json, matcher: Json) -> Json:
    return {"header": base | {"string_match": matcher}}
