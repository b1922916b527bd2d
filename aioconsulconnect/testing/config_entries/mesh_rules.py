"""The rules for entries of services, proxies and the mesh: the refusals, in Consul's words."""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Final

from aioconsulconnect.testing.config_entries.envoy_extensions import extensions
from aioconsulconnect.testing.go_json.errors import errors
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, number, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

PROTOCOLS: Final = ("tcp", "http", "http2", "grpc")
_TLS_VERSIONS: Final = ("TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3")
_SLASHES: Final = (
    "IMPLEMENTATION_SPECIFIC_DEFAULT",
    "KEEP_UNCHANGED",
    "REJECT_REQUEST",
    "UNESCAPE_AND_REDIRECT",
    "UNESCAPE_AND_FORWARD",
)
_UNDERSCORES: Final = ("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
_CIPHERS: Final = frozenset(
    f"TLS_{way}_WITH_{cipher}"
    for ways, ciphers in (
        (
            ("ECDHE_ECDSA", "ECDHE_RSA", "RSA"),
            ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "AES_128_CBC_SHA", "AES_256_CBC_SHA"),
        ),
        (("ECDHE_ECDSA", "ECDHE_RSA"), ("CHACHA20_POLY1305_SHA256",)),
    )
    for way in ways
    for cipher in ciphers
)
_LABEL: Final = 63
_NAME: Final = 254
_PLAIN_URI: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*:)?(//[A-Za-z0-9.-]*(:\d*)?(?=[/?]|$))?[A-Za-z0-9/._~=&?-]*|\*"
)
_ALL: Final = 100
_DISCOVERY: Final = frozenset({"", "STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"})


def is_host(name: str) -> bool:
    """True if Consul takes `name` for a host: parts of 1 to 63 bytes, whatever they hold."""
    parts = [part.encode() for part in name.removesuffix(".").split(".")]
    return all(0 < len(part) <= _LABEL for part in parts) and sum(len(part) + 1 for part in parts) < _NAME + 1


def service_defaults(entry: Object, facts: VersionFacts) -> Iterator[str]:
    """The complaints about a service-defaults `entry`; `facts` is the version."""
    if facts.defaults_check_names and text(entry, "Name") == "*":
        yield "service-defaults name must be the name of a service, and not a wildcard"
    yield from _mutual_tls(entry)
    found = [*_upstreams(child(entry, "UpstreamConfig"), facts)]
    if facts.protocols_are_checked and text(entry, "Protocol") not in {"", *PROTOCOLS}:
        found.insert(0, f"invalid value for protocol: {text(entry, 'Protocol')}")
    if (balance := text(entry, "BalanceInboundConnections")) not in {"", "exact_balance"}:
        found.insert(0, f"invalid value for balance_inbound_connections: {balance}")
    if is_object(destination := entry.get("Destination")):
        if is_object(entry.get("UpstreamConfig")):
            found = [words for words in found if "error in upstream" not in words]
            found.append("UpstreamConfig and Destination are mutually exclusive for service defaults")
        else:
            found += _destination(destination)
    found += extensions(entry, facts)
    if entry.get("RateLimits") is not None:
        found.append("invalid rate_limits config. Rate limiting is a consul enterprise feature")
    if found:
        yield errors(found)


def _mutual_tls(entry: Object) -> Iterator[str]:
    if (mode := text(entry, "MutualTLSMode")) not in {"", "strict", "permissive"}:
        yield f'Invalid MutualTLSMode "{mode}". Must be one of "", "strict", or "permissive".'


def _upstreams(upstreams: Object, facts: VersionFacts) -> Iterator[str]:
    colon = facts.override_text_end
    for override in children(upstreams, "Overrides"):
        name = text(override, "Name")
        label = f"error in upstream override for {name}{colon}: "
        if not name:
            yield label + "Name is required"
        elif name == "*":
            yield label + "Wildcard name is not supported"
        elif facts.limits_are_checked and (wrong := [*_limits(override)]):
            yield label + errors(wrong)
    defaults = child(upstreams, "Defaults")
    if text(defaults, "Name"):
        yield "error in upstream defaults: Name must be empty"
    elif facts.limits_are_checked and (wrong := [*_limits(defaults)]):
        yield "error in upstream defaults: " + errors(wrong)


def _limits(upstream: Object) -> Iterator[str]:
    check = child(upstream, "PassiveHealthCheck")
    ranges = (
        (number(check, "Interval") < 0, "interval cannot be negative"),
        (number(check, "EnforcingConsecutive5xx") > _ALL, "enforcing_consecutive_5xx must be a percentage"),
        (number(check, "MaxEjectionPercent") > _ALL, "max_ejection_percent must be a percentage"),
        (number(check, "BaseEjectionTime") < 0, "base_ejection_time cannot be negative"),
    )
    for words in [words for wrong, words in ranges if wrong][:1]:
        yield f"passive health check {words}{' between 0 and 100' * words.endswith('percentage')}"
    named = (("MaxConnections", "connections"), ("MaxPendingRequests", "pending requests"))
    for member, name in (*named, ("MaxConcurrentRequests", "concurrent requests")):
        if number(child(upstream, "Limits"), member) < 0:
            yield f"max {name} cannot be negative"
            break
    if (balance := text(upstream, "BalanceOutboundConnections")) not in {"", "exact_balance"}:
        yield f"invalid value for balance_outbound_connections: {balance}"


def _destination(destination: Object) -> Iterator[str]:
    addresses = texts(destination, "Addresses")
    if not addresses:
        yield "Destination must contain at least one valid address"
    for at, address in enumerate(addresses):
        if address in addresses[:at]:
            yield f"Duplicate address '{address}' is not allowed"
        elif not is_host(address) or "*" in address:
            yield (
                f"Destination address '{address}' is invalid Could not validate address {address} as an IP or Hostname"
            )
    port = number(destination, "Port")
    if not 0 < port < 1 << 16:
        yield f"Invalid Port number {port}"


def proxy_defaults(entry: Object, facts: VersionFacts) -> Iterator[str]:
    """The complaints about a proxy-defaults `entry`; `facts` is the version."""
    if text(entry, "Name") != "global":
        yield f'invalid name ("{text(entry, "Name")}"), only "global" is supported'
    logs = child(entry, "AccessLogs")
    kind, path, wanted = text(logs, "Type"), text(logs, "Path"), text(logs, "JSONFormat")
    if kind not in {"", "stdout", "stderr", "file"}:
        yield f"invalid access log type: {kind}"
    if kind == "file" and not path:
        yield "path must be specified when using file type access logs"
    if path and kind != "file":
        yield "path is only valid for file type access logs"
    if wanted and text(logs, "TextFormat"):
        yield "cannot specify both access log JSONFormat and TextFormat"
    if wanted:
        try:
            json.loads(wanted)
        except ValueError:
            if wanted[0] in '{["-0123456789tfn \t\r\n':
                raise Refused(
                    501, "The in-process agent does not know in what words Consul refuses this JSON"
                ) from None
            start = "invalid access log json for JSON format: invalid character "
            yield f"{start}'{wanted[0]}' looking for beginning of value"
    yield from _mutual_tls(entry)
    if wrong := [*extensions(entry, facts)]:
        yield errors(wrong)
    if text(child(entry, "FailoverPolicy"), "Mode") not in {"", "sequential", "order-by-locality"}:
        yield "Failover-policy mode must be one of '', 'sequential', or 'order-by-locality'"
    if child(entry, "PrioritizeByLocality").get("Mode"):
        yield "Prioritize-by-locality requires Consul Enterprise "


def mesh(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about a mesh `entry`; `facts` is the version."""
    for direction in ("Incoming", "Outgoing"):
        for words in tls(child(child(entry, "TLS"), direction)):
            yield f"error in {direction.lower()} TLS configuration: {words}"
    normal = child(child(child(entry, "HTTP"), "Incoming"), "RequestNormalization")
    for member, values in (
        ("PathWithEscapedSlashesAction", _SLASHES),
        ("HeadersWithUnderscoresAction", _UNDERSCORES),
    ):
        if (value := text(normal, member)) and value not in values:
            words = f"no matching {member} value found for {value}, please specify one of [{', '.join(values)}]"
            yield f"error in HTTP incoming request normalization configuration: {words}"


def tls(given: Object) -> Iterator[str]:
    """The complaints about the versions and cipher suites of TLS in `given`."""
    least, most, suites = text(given, "TLSMinVersion"), text(given, "TLSMaxVersion"), texts(given, "CipherSuites")
    for version in (least, most):
        if version and version not in _TLS_VERSIONS:
            yield f"no matching TLS version found for {version}, please specify one of [{', '.join(_TLS_VERSIONS)}]"
            return
    if least and most and 0 < _TLS_VERSIONS.index(most) < _TLS_VERSIONS.index(least):
        yield f"configuring max version {most} less than the configured min version {least} is invalid"
    if suites and least == "TLSv1_3":
        yield (
            "configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 or earlier,"
            f" TLSMinVersion is set to {least}"
        )
    if unknown := [suite for suite in suites if suite not in _CIPHERS]:
        yield f"no matching Envoy TLS cipher suite found for {','.join(unknown)}"


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
            if text(consumer, "SamenessGroup"):
                yield f"{where}: sameness-groups are an enterprise-only feature"
            named = [name for name in ("Peer", "Partition", "SamenessGroup") if text(consumer, name)]
            if len(named) > 1:
                yield f"{where}: must define at most one of Peer, Partition, or SamenessGroup"
            for member, many in (("Peer", "peers"), ("Partition", "partitions")):
                if text(consumer, member) == "*":
                    yield f"{where}: exporting to all {many} (wildcard) is not supported"


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
        base64.b64decode(re.sub("[\r\n]", "", keys), validate=True)
    except binascii.Error:
        yield "JWKS must be valid base64 encoded string"


def _remote(remote: Object) -> Iterator[str]:
    uri = text(remote, "URI")
    if not uri:
        yield "Remote JWKS URI is required"
    if uri.startswith(":"):
        yield f'Remote JWKS URI is invalid: parse "{uri}": missing protocol scheme, uri: {uri}'
    scheme = re.match("[A-Za-z][A-Za-z0-9+.-]*:", uri)
    if uri and not scheme and uri[0] != "/" and uri != "*":
        yield f'Remote JWKS URI is invalid: parse "{uri}": invalid URI for request, uri: {uri}'
    if not _PLAIN_URI.fullmatch(uri):
        raise Refused(501, "The in-process agent does not know whether Consul takes this URI of keys")
    pause = child(child(remote, "RetryPolicy"), "RetryPolicyBackOff")
    least, most = number(pause, "BaseInterval"), number(pause, "MaxInterval")
    if most and most < least:
        yield "retry policy backoff's MaxInterval should be greater or equal to BaseInterval"
    cluster = child(remote, "JWKSCluster")
    kind = text(cluster, "DiscoveryType")
    if kind not in _DISCOVERY:
        yield f'unsupported jwks cluster discovery type: "{kind}"'
    if is_object(given := cluster.get("TLSCertificates")):
        trusted = given.get("TrustedCA")
        if is_object(given.get("CaCertificateProviderInstance")) == is_object(trusted):
            yield "must specify exactly one of: CaCertificateProviderInstance or TrustedCA for JKWS' TLSCertificates"
        if is_object(trusted) and sum(map(bool, trusted.values())) != 1:
            yield (
                "must specify exactly one of: Filename, EnvironmentVariable, InlineString or InlineBytes"
                " for JWKS' TrustedCA"
            )


def _location(location: Object) -> Iterator[str]:
    kinds = {"Header": "header name", "QueryParam": "query param name", "Cookie": "cookie name"}
    given = [kind for kind in kinds if is_object(location.get(kind))]
    if len(given) != 1:
        yield "must set exactly one of: JWT location header, query param or cookie"
        return
    if not text(child(location, given[0]), "Name"):
        yield f"JWT location {kinds[given[0]]} must be specified"
