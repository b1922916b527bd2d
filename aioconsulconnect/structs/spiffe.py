"""
SPIFFE ids of Consul: parse, format, compare.

Parsing is stricter than Consul, whose authorize endpoint accepts much of what is refused here.
"""

from __future__ import annotations

import re
from typing import Literal, get_args
from urllib.parse import quote, unquote_to_bytes

import msgspec

from aioconsulconnect.errors import InvalidRequest, redact
from aioconsulconnect.structs.codec.consul_struct import redacted_fields

SpiffeKind = Literal["service", "agent", "mesh-gateway", "server", "signing"]

# A segment with a colon is a field, any other a word that stands there as it is.
_FORMS: dict[SpiffeKind, tuple[str, ...]] = {
    "service": ("ns", ":namespace", "dc", ":datacenter", "svc", ":name"),
    "agent": ("agent", "client", "dc", ":datacenter", "id", ":name"),
    "mesh-gateway": ("gateway", "mesh", "dc", ":datacenter"),
    "server": ("agent", "server", "dc", ":datacenter"),
    "signing": (),
}
_PARTITIONED: frozenset[SpiffeKind] = frozenset({"service", "agent", "mesh-gateway"})
_DEFAULTS = {"namespace": "default", "datacenter": "", "name": ""}

_TRUST_DOMAIN = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+"
_ID = re.compile(rf"spiffe://({_TRUST_DOMAIN})((?:/{_SEGMENT})*)")
_LIMIT = 2048

# A service as nearly all are, with nothing to decode or to refuse: it is parsed in a fifth of the time.
_WORD = r"[A-Za-z0-9][A-Za-z0-9._~-]*"
_USUAL = re.compile(rf"spiffe://({_TRUST_DOMAIN})/ns/({_WORD})/dc/({_WORD})/svc/({_WORD})")
_USUAL_FIELDS = re.compile(rf"service/{_TRUST_DOMAIN}/default/{_WORD}/{_WORD}/{_WORD}")
_UNESCAPED = "$&+,:;=@"  # what Go's net/url leaves alone in a path beside letters, digits and -._~


class SpiffeId(msgspec.Struct, frozen=True, kw_only=True):
    """
    Identity that a certificate states, in one of the forms that Consul uses.

    `str()` gives the URI. Two ids are equal when they mean the same. Raises InvalidRequest for an id that no Consul
    would sign.

    - `kind`: "service" (the default), "agent", "mesh-gateway", "server", or "signing" for the trust domain alone.
    - `trust_domain`: host of the URI, in lower case and without a port.
    - `partition`: in lower case; default "default". Only services, agents and mesh gateways have another.
    - `namespace`: of a service; default "default".
    - `datacenter`: of all kinds but "signing".
    - `name`: name of the service, or of the agent's node. Names keep their case, and are given unencoded.
    """

    kind: SpiffeKind = "service"
    trust_domain: str
    partition: str = "default"
    namespace: str = "default"
    datacenter: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Raise InvalidRequest if the fields do not fit the kind."""
        fields = self.kind, self.trust_domain, self.partition, self.namespace, self.datacenter, self.name
        try:
            if _USUAL_FIELDS.fullmatch("/".join(fields)):
                return
        except TypeError:
            raise InvalidRequest("the fields of a SPIFFE id must be str") from None
        if self.kind not in get_args(SpiffeKind):
            raise InvalidRequest(f"{self.kind!r} is no kind of SPIFFE id")
        if not re.fullmatch(_TRUST_DOMAIN, self.trust_domain):
            raise InvalidRequest(f"{self.trust_domain!r} is no trust domain: a host name in lower case, without a port")
        for field, default in _DEFAULTS.items():
            value = str(getattr(self, field))
            if f":{field}" in _FORMS[self.kind]:
                _check(field, value)
            elif value != default:
                raise InvalidRequest(f"a SPIFFE id of kind {self.kind} has no {field}")
        _check("partition", self.partition)
        if self.partition != self.partition.lower() or (self.partition != "default" and self.kind not in _PARTITIONED):
            raise InvalidRequest(
                f"partition {self.partition!r}: in lower case, and only for service, agent and gateway"
            )

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """
        Return the id that a URI states.

        Raises InvalidRequest (a ValueError) for any other text, such as: more than 2,048 characters, another scheme or
        one in capitals, a user, port, query or fragment, an empty host or one with capitals, empty segments, a trailing
        slash, a percent sign that encodes nothing, the default partition written out, an unknown form.

        Segments are decoded after the path was split, so an encoded slash belongs to the name. Without `/ap/` the
        partition is `default`.
        """
        if len(uri) <= _LIMIT and (usual := _USUAL.fullmatch(uri)) is not None:
            trust_domain, namespace, datacenter, name = usual.groups()
            return cls(trust_domain=trust_domain, namespace=namespace, datacenter=datacenter, name=name)
        match = _ID.fullmatch(uri) if len(uri) <= _LIMIT else None
        if match is None:
            raise InvalidRequest(f"{uri[:_LIMIT]!r} is not the URI of a SPIFFE id")
        segments = match[2].split("/")[1:]
        partition = "default"
        if segments[:1] == ["ap"] and segments[2:]:
            partition, segments = _decode(segments[1]).lower(), segments[2:]
            if partition == "default":  # never written: some agents refuse it, others take it for the default one
                raise InvalidRequest(f"{uri!r} states the default partition, which Consul never does")
        for kind, form in _FORMS.items():
            if len(form) == len(segments) and all(f[0] == ":" or f == s for f, s in zip(form, segments, strict=True)):
                fields = {f[1:]: _decode(s) for f, s in zip(form, segments, strict=True) if f[0] == ":"}
                return cls(kind=kind, trust_domain=match[1], partition=partition, **fields)
        raise InvalidRequest(f"{uri!r} is a SPIFFE id, but none of Consul's forms")

    def __repr__(self) -> str:
        return redact(msgspec.Struct.__repr__(self))

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Give pretty printers the fields, without private keys."""
        return redacted_fields(self)

    def __str__(self) -> str:
        """The URI as Consul writes it, without the default partition."""
        partition = "" if self.partition == "default" else f"/ap/{quote(self.partition, safe=_UNESCAPED)}"
        path = (
            quote(str(getattr(self, segment[1:])), safe=_UNESCAPED) if segment[0] == ":" else segment
            for segment in _FORMS[self.kind]
        )
        return f"spiffe://{self.trust_domain}{partition}" + "".join(f"/{segment}" for segment in path)

    def belongs_to(self, trust_domain: str) -> bool:
        """True if the id is of this trust domain (`Roots.trust_domain`), in whatever case it is written."""
        return self.trust_domain == trust_domain.lower()


def _decode(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{segment!r} in a SPIFFE id does not decode as UTF-8") from None


def _check(field: str, value: str) -> None:
    if not value or not value.isprintable() or value in {".", ".."}:
        raise InvalidRequest(f"{value!r} cannot be the {field} of a SPIFFE id")
