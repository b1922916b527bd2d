"""The rules for Envoy extensions in service-defaults and proxy-defaults, and for their arguments."""

import re
from collections.abc import Iterator
from typing import Final, Literal

from aioconsulconnect.testing.go_json.errors import errors
from aioconsulconnect.testing.go_json.values import Object, child, children, text
from aioconsulconnect.testing.go_json.weak_decoder import wrong_type
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

_PART: Final = r"(\.[0-9A-Za-z~-]+)*"
_RELEASE: Final = (
    rf"v?\d+(\.\d+)*(-\d[0-9A-Za-z~-]*{_PART}|-?[A-Za-z~-][0-9A-Za-z~-]*{_PART})?(\+[0-9A-Za-z~-]+{_PART})?"
)
_CONSTRAINT: Final = re.compile(rf"\s*(=|!=|>|<|>=|<=|~>)?\s*{_RELEASE}\s*")
_LOCAL_SERVICE: Final = re.compile(r"(localhost|127\.0\.0\.1):\d{1,5}")
_ARGUMENTS: Final[dict[str, dict[str, Literal["string", "bool"]]]] = {
    "builtin/lua": {"ProxyType": "string", "Listener": "string", "Script": "string"},
    "builtin/aws/lambda": {"ARN": "string", "InvocationMode": "string", "PayloadPassthrough": "bool"},
}


def extensions(entry: Object, facts: VersionFacts) -> Iterator[str]:
    """The complaints about the Envoy extensions in `entry`; `facts` is the version."""
    for at, extension in enumerate(children(entry, "EnvoyExtensions")):
        name, label = text(extension, "Name"), f"invalid EnvoyExtensions[{at}]"
        malformed = [
            f"{label}.{member}: Malformed constraint: {part}"
            for member in ("ConsulVersion", "EnvoyVersion")
            if text(extension, member)
            for part in text(extension, member).split(",")
            if not _CONSTRAINT.fullmatch(part)
        ]
        if not name:
            yield f"{label}: Name is required"
        elif malformed:
            yield malformed[0]
        elif name not in facts.envoy_extensions:
            yield f'{label}[{name}]: name "{name}" is not a built-in extension'
        elif wrong := [*_wrong_types(name, child(extension, "Arguments"), facts)]:
            listed = "\n".join(f"* {each}" for each in wrong)
            yield f"{label}[{name}]: error decoding extension arguments: {len(wrong)} error(s) decoding:\n\n{listed}"
        elif wrong := [*_arguments(name, child(extension, "Arguments"))]:
            yield f"{label}[{name}]: {errors(wrong)}"


def _read(name: str, given: Object) -> Object:
    """The arguments that an extension knows, in any case; the others do not count."""
    exact = sorted(given, key=lambda key: key in _ARGUMENTS[name])
    known = {member.lower(): member for member in _ARGUMENTS[name]}
    return {known[key.lower()]: given[key] for key in exact if key.lower() in known}


def _wrong_types(name: str, given: Object, facts: VersionFacts) -> Iterator[str]:
    if name in _ARGUMENTS:
        for member, value in sorted(_read(name, given).items()):
            kind = _ARGUMENTS[name][member]
            if not isinstance(value, str if kind == "string" else bool):
                yield wrong_type(member, kind, value, facts.version)


def _arguments(name: str, given: Object) -> Iterator[str]:
    if name in _ARGUMENTS:
        given = _read(name, given)
    if name == "builtin/lua":
        if not text(given, "Script"):
            yield "missing Script value"
        if text(given, "ProxyType") not in {"", "connect-proxy", "api-gateway"}:
            yield f'unexpected ProxyType "{text(given, "ProxyType")}"'
        if text(given, "Listener") not in {"inbound", "outbound"}:
            yield f'unexpected Listener "{text(given, "Listener")}"'
    elif name == "builtin/aws/lambda":
        if not text(given, "ARN"):
            yield "ARN is required"
    elif name == "builtin/ext-authz" and not given:
        yield "exactly one of GrpcService or HttpService must be set"
    elif name == "builtin/ext-authz" and _LOCAL_SERVICE.fullmatch(_only_address(given)):
        return
    else:
        raise Refused(501, f"The in-process agent does not check these arguments of {name} as Consul does")


def _only_address(given: Object) -> str:
    """The address in arguments of ext-authz that hold no more than that of a gRPC service; else empty."""
    plain = {key: value for key, value in given.items() if (key, value) != ("ProxyType", "connect-proxy")}
    for key in ("Config", "GrpcService", "Target"):
        plain = child(plain, key) if plain.keys() == {key} else {}
    return text(plain, "URI") if plain.keys() == {"URI"} else ""
