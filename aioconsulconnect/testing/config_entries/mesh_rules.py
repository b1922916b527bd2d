"""The rules for entries of services, proxies and the mesh: the refusals, in Consul's words."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from aioconsulconnect.testing.go_json.errors import errors
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, number, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.versions import VersionFacts

_PROTOCOLS: Final = ("tcp", "http", "http2", "grpc")
_TLS_VERSIONS: Final = ("TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3")
_SLASHES: Final = frozenset(
    {
        "",
        "IMPLEMENTATION_SPECIFIC_DEFAULT",
        "KEEP_UNCHANGED",
        "REJECT_REQUEST",
        "UNESCAPE_AND_REDIRECT",
        "UNESCAPE_AND_FORWARD",
    }
)
_UNDERSCORES: Final = frozenset({"", "ALLOW", "REJECT_REQUEST", "DROP_HEADER"})
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_EXTENSIONS: Final = frozenset(
    f"builtin/{name}"
    for name in ("lua", "aws/lambda", "ext-authz", "otel-access-logging", "property-override", "proxy", "wasm")
) | {"builtin/aws/lambda", "builtin/http/localratelimit"}
_DISCOVERY: Final = frozenset({"", "STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"})


def service_defaults(entry: Object, facts: VersionFacts) -> Iterator[str]:
    """The complaints about a service-defaults `entry`; `facts` is the version."""
    if facts.defaults_check_names and text(entry, "Name") == "*":
        yield "service-defaults name must be the name of a service, and not a wildcard"
    found: list[str] = []
    if facts.protocols_are_checked and text(entry, "Protocol") not in {"", *_PROTOCOLS}:
        found.append(f"invalid value for protocol: {text(entry, 'Protocol')}")
    if (balance := text(entry, "BalanceInboundConnections")) not in {"", "exact_balance"}:
        found.append(f"invalid value for balance_inbound_connections: {balance}")
    upstreams = child(entry, "UpstreamConfig")
    if text(child(upstreams, "Defaults"), "Name"):
        found.append("error in upstream defaults: Name must be empty")
    colon = facts.override_text_end
    for override in children(upstreams, "Overrides"):
        name = text(override, "Name")
        if not name:
            found.append(f"error in upstream override for {colon}: Name is required")
        elif name == "*":
            found.append(f"error in upstream override for *{colon}: Wildcard name is not supported")
    if is_object(destination := entry.get("Destination")):
        found += _destination(destination)
    for at, extension in enumerate(children(entry, "EnvoyExtensions")):
        name = text(extension, "Name")
        if name not in _EXTENSIONS:
            found.append(f'invalid EnvoyExtensions[{at}][{name}]: name "{name}" is not a built-in extension')
    if entry.get("RateLimits"):
        found.append("invalid rate_limits config. Rate limiting is a consul enterprise feature")
    if found:
        yield errors(found)


def _destination(destination: Object) -> Iterator[str]:
    addresses = texts(destination, "Addresses")
    if not addresses:
        yield "Destination must contain at least one valid address"
    for address in addresses:
        if not _HOST.fullmatch(address) and ":" not in address:
            yield (
                f"Destination address '{address}' is invalid Could not validate address {address} as an IP or Hostname"
            )
    port = number(destination, "Port")
    if not 0 < port < 1 << 16:
        yield f"Invalid Port number {port}"


def proxy_defaults(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about a proxy-defaults `entry`; `facts` is the version."""
    if text(entry, "Name") != "global":
        yield f'invalid name ("{text(entry, "Name")}"), only "global" is supported'
    logs = child(entry, "AccessLogs")
    if text(logs, "Type") not in {"", "stdout", "stderr", "file"}:
        yield f"invalid access log type: {text(logs, 'Type')}"
    if text(logs, "JSONFormat") and text(logs, "TextFormat"):
        yield "cannot specify both access log JSONFormat and TextFormat"
    if text(child(entry, "FailoverPolicy"), "Mode") not in {"", "sequential", "order-by-locality"}:
        yield "Failover-policy mode must be one of '', 'sequential', or 'order-by-locality'"
    if (mode := text(entry, "MutualTLSMode")) not in {"", "strict", "permissive"}:
        yield f'Invalid MutualTLSMode "{mode}". Must be one of "", "strict", or "permissive".'
    if child(entry, "PrioritizeByLocality").get("Mode"):
        yield "Prioritize-by-locality requires Consul Enterprise "


def mesh(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about a mesh `entry`; `facts` is the version."""
    for direction in ("Incoming", "Outgoing"):
        for words in tls(child(child(entry, "TLS"), direction)):
            yield f"error in {direction.lower()} TLS configuration: {words}"
    normal = child(child(child(entry, "HTTP"), "Incoming"), "RequestNormalization")
    if text(normal, "PathWithEscapedSlashesAction") not in _SLASHES:
        raise Refused(501, "The in-process agent does not know in what words Consul refuses an action for slashes")
    if text(normal, "HeadersWithUnderscoresAction") not in _UNDERSCORES:
        raise Refused(501, "The in-process agent does not know in what words Consul refuses one for underscores")


def tls(given: Object) -> Iterator[str]:
    """The complaints about the versions and cipher suites of TLS in `given`."""
    least, most = text(given, "TLSMinVersion"), text(given, "TLSMaxVersion")
    for version in (least, most):
        if version and version not in _TLS_VERSIONS:
            yield f"no matching TLS version found for {version}, please specify one of [{', '.join(_TLS_VERSIONS)}]"
            return
    if least and most and 0 < _TLS_VERSIONS.index(most) < _TLS_VERSIONS.index(least):
        yield f"configuring max version {most} less than the configured min version {least} is invalid"
    if texts(given, "CipherSuites") and least == "TLSv1_3":
        yield (
            "configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 or earlier,"
            f" TLSMinVersion is set to {least}"
        )


def exported_services(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about an exported-services `entry`; `facts` is the version."""
    if text(entry, "Name") != "default":
        yield 'exported-services Name must be "default"'
    for at, service in enumerate(children(entry, "Services")):
        consumers = children(service, "Consumers")
        if not text(service, "Name"):
            yield f"Services[{at}]: service name cannot be empty"
        if not consumers:
            yield f"Services[{at}]: must have at least one consumer"
        for number_, consumer in enumerate(consumers):
            where = f"Services[{at}].Consumers[{number_}]"
            named = [name for name in ("Peer", "Partition", "SamenessGroup") if text(consumer, name)]
            if len(named) > 1:
                yield f"{where}: must define at most one of Peer, Partition, or SamenessGroup"
            if text(consumer, "Peer") == "*":
                yield f"{where}: exporting to all peers (wildcard) is not supported"
            if "SamenessGroup" in named:
                raise Refused(501, "The in-process agent does not model sameness groups as consumers")


def jwt_provider(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about a jwt-provider `entry`; `facts` is the version."""
    if not is_object(keys := entry.get("JSONWebKeySet")):
        yield "JSONWebKeySet is required"
        return
    local, remote = keys.get("Local"), keys.get("Remote")
    if is_object(local) == is_object(remote):
        yield "must specify exactly one of Local or Remote JSON Web key set"
    yield from _local(local) if is_object(local) else _remote(remote if is_object(remote) else {})
    locations = [words for each in children(entry, "Locations") for words in _location(each)]
    if locations:
        yield errors(locations)
    if is_object(forwarding := entry.get("Forwarding")) and not text(forwarding, "HeaderName"):
        yield "Header name required for forwarding config"


def _local(local: Object) -> Iterator[str]:
    keys, file = text(local, "JWKS"), text(local, "Filename")
    if bool(keys) == bool(file):
        yield "must specify exactly one of String or filename for local keyset"
    try:
        base64.b64decode(keys, validate=True)
    except binascii.Error:
        yield "JWKS must be valid base64 encoded string"


def _remote(remote: Object) -> Iterator[str]:
    uri = text(remote, "URI")
    if not uri:
        yield "Remote JWKS URI is required"
    if uri.startswith(":"):
        yield f'Remote JWKS URI is invalid: parse "{uri}": missing protocol scheme, uri: {uri}'
    if not urlsplit(uri).scheme:
        raise Refused(501, "The in-process agent does not know whether Consul takes this URI of keys")
    pause = child(child(remote, "RetryPolicy"), "RetryPolicyBackOff")
    least, most = number(pause, "BaseInterval"), number(pause, "MaxInterval")
    if most and most < least:
        yield "retry policy backoff's MaxInterval should be greater or equal to BaseInterval"
    kind = text(child(remote, "JWKSCluster"), "DiscoveryType")
    if kind not in _DISCOVERY:
        yield f'unsupported jwks cluster discovery type: "{kind}"'


def _location(location: Object) -> Iterator[str]:
    kinds = {"Header": "header name", "QueryParam": "query parameter name", "Cookie": "cookie name"}
    given = [kind for kind in kinds if is_object(location.get(kind))]
    if len(given) != 1:
        yield "must set exactly one of: JWT location header, query param or cookie"
        return
    if not text(child(location, given[0]), "Name"):
        yield f"JWT location {kinds[given[0]]} must be specified"


def inline_certificate(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about an inline-certificate `entry`; `facts` is the version."""
    if "-----BEGIN" not in text(entry, "PrivateKey"):
        yield "failed to parse private key PEM"
    if "-----BEGIN" not in text(entry, "Certificate"):
        raise Refused(501, "The in-process agent does not know in what words Consul refuses this certificate")
