"""The rules for gateways, their routes and certificates: the refusals, in Consul's words."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from aioconsulconnect.testing.config_entries.mesh_rules import PROTOCOLS, is_host, tls
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, number, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_LISTENER: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_PEM: Final = re.compile(r"^-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?^-----END \1-----", re.MULTILINE | re.DOTALL)


def ingress(entry: Object, facts: VersionFacts) -> Iterator[str]:
    """The complaints about an ingress-gateway `entry`; `facts` is the version."""
    yield from tls(child(entry, "TLS"))
    own = child(child(entry, "TLS"), "SDS")
    if text(own, "CertResource") and not text(own, "ClusterName"):
        yield "TLS.SDS.ClusterName is required if CertResource is set"
    ports: set[object] = set()
    for listener in children(entry, "Listeners"):
        port, protocol, services = listener.get("Port", 0), text(listener, "Protocol"), children(listener, "Services")
        if port in ports:
            yield f"port {port} declared on two listeners"
        ports.add(port)
        where = f"(listener on port {port})"
        if protocol not in PROTOCOLS:
            yield f"protocol must be 'tcp', 'http', 'http2', or 'grpc'. '{protocol}' is an unsupported protocol"
        if len(services) > 1 and protocol == "tcp":
            yield f"Multiple services per listener are only supported for {facts.listener_protocols} {where}"
        yield from _listener_tls(child(listener, "TLS"), own, where)
        if not services:
            yield f"No service declared for listener with port {port}"
        hosts: set[str] = set()
        names = Counter(text(service, "Name") for service in services)
        for service in services:
            if facts.ingress_services_once and names[text(service, "Name")] > 1:
                yield f"Service {text(service, 'Name')} cannot be added multiple times {where}"
            yield from _service_headers(service, protocol, where)
            yield from _ingress_service(service, protocol, where, hosts, encrypted=child(entry, "TLS").get("Enabled"))
            yield from _service_tls(service, (child(child(listener, "TLS"), "SDS"), own), where)


def _listener_tls(given: Object, gateway: Object, where: str) -> Iterator[str]:
    yield from tls(given)
    own = child(given, "SDS")
    if text(own, "ClusterName"):
        if not text(own, "CertResource"):
            yield f"TLS.SDS.CertResource is required if ClusterName is set for listener {where}"
    elif text(own, "CertResource"):
        if not text(gateway, "ClusterName"):
            yield f"TLS.SDS.ClusterName is required if CertResource is set {where}"
    elif text(gateway, "ClusterName") and not text(gateway, "CertResource"):
        yield f"TLS.SDS.CertResource is required if ClusterName is set for gateway {where}"


def _ingress_service(
    service: Object, protocol: str, where: str, hosts: set[str], *, encrypted: object
) -> Iterator[str]:
    name, own = text(service, "Name"), texts(service, "Hosts")
    if not name:
        yield f"Service name cannot be blank {where}"
    if name == "*" and protocol == "tcp":
        yield f"Wildcard service name is only valid for protocol = 'http' {where}"
    if own and protocol == "tcp":
        yield f"Associating hosts to a service is not supported for the tcp protocol {where}"
    if own and name == "*":
        yield f"Associating hosts to a wildcard service is not supported {where}"
    for host in own:
        if host in hosts:
            yield f"Hosts must be unique within a specific listener {where}"
        hosts.add(host)
        if host == "*":
            if encrypted:
                words = "all hosts must be valid DNS records to add as a DNSSAN"
                yield f"Host '*' is not allowed when TLS is enabled, {words}"
        elif not is_host(host):
            yield f'Host "{host}" must be a valid DNS hostname'
        elif "*" in host.removeprefix("*."):
            yield f'Host "{host}" is not valid, a wildcard specifier is only allowed as the leftmost label'


def _service_headers(service: Object, protocol: str, where: str) -> Iterator[str]:
    label = f'(service "{text(service, "Name")}" on {where[1:]}'
    for direction in ("request", "response"):
        if protocol == "tcp" and any(child(service, f"{direction.title()}Headers").values()):
            yield f"{direction} headers only valid for http, http2 and grpc protocols {label}"


def _service_tls(service: Object, above: tuple[Object, ...], where: str) -> Iterator[str]:
    label = f'(service "{text(service, "Name")}" on {where[1:]}'
    own = child(child(service, "TLS"), "SDS")
    if text(own, "CertResource"):
        if not texts(service, "Hosts"):
            yield f"A service specifying TLS.SDS.CertResource must have at least one item in Hosts {label}"
        if not any(text(each, "ClusterName") for each in (own, *above)):
            yield f"TLS.SDS.ClusterName is required if CertResource is set {label}"


def terminating(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about a terminating-gateway `entry`; `facts` is the version."""
    seen: set[str] = set()
    for service in children(entry, "Services"):
        name = text(service, "Name")
        if not name:
            yield "Service name cannot be blank."
        if name in seen:
            yield f'Service "{name}" was specified more than once within a namespace'
        seen.add(name)
        files = [bool(text(service, member)) for member in ("CertFile", "KeyFile", "CAFile")]
        if (files[0] or files[1]) and not all(files):
            yield f'Service "{name}" must have a CertFile, CAFile, and KeyFile specified for TLS origination'


def api_gateway(entry: Object, facts: VersionFacts) -> Iterator[str]:
    """The complaints about an api-gateway `entry`; `facts` is the version."""
    listeners = children(entry, "Listeners")
    if not listeners:
        yield "api gateway must have at least one listener"
    names: set[str] = set()
    for name in (text(listener, "Name") for listener in listeners):
        if not _LISTENER.fullmatch(name):
            words = "must be at least 1 character and contain only letters, numbers, or dashes"
            yield f'listener name "{name}" is invalid, {words}'
        if name in names:
            yield f'found multiple listeners with the name "{name}"'
        names.add(name)
    first: dict[int, Object] = {}
    for listener in listeners:
        other = first.setdefault(number(listener, "Port"), listener)
        if any(text(other, member) != text(listener, member) for member in ("Protocol", "Hostname")):
            yield f'listeners "{text(other, "Name")}" and "{text(listener, "Name")}" cannot be merged'
    for listener in listeners:
        yield from _api_listener(listener, facts)


def _api_listener(listener: Object, facts: VersionFacts) -> Iterator[str]:
    protocol, host, port = text(listener, "Protocol"), text(listener, "Hostname"), number(listener, "Port")
    if protocol not in {"http", "tcp"}:
        yield f"unsupported listener protocol \"{protocol}\", must be one of 'tcp', or 'http'"
    if protocol == "tcp" and host:
        yield "hostname specification is not supported when using TCP"
    if not 0 < port < 1 << 16:
        yield f"listener port {port} not in the range 1-65535"
    if "*" in host.removeprefix("*."):
        yield f'host "{host}" is not valid, a wildcard specifier is only allowed as the left-most label'
    for certificate in children(child(listener, "TLS"), "Certificates"):
        if text(certificate, "Kind") not in facts.certificate_kinds:
            wanted = " or ".join(f"'{kind}'" for kind in facts.certificate_kinds)
            yield f'unsupported certificate kind: "{text(certificate, "Kind")}", must be {wanted}'
        if not text(certificate, "Name"):
            yield "certificate reference must have a name"
    given = child(listener, "TLS")
    yield from tls({f"TLS{key}" if key.endswith("Version") else key: value for key, value in given.items()})


def route(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about the `entry` of an http-route or a tcp-route; `facts` is the version."""
    for host in texts(entry, "Hostnames"):
        if "*" in host:
            yield f'host "{host}" must not be a wildcard'
        if not is_host(host):
            yield f'host "{host}" must be a valid DNS hostname'
    parents: list[tuple[str, ...]] = []
    for parent in children(entry, "Parents"):
        if text(parent, "Kind") != "api-gateway":
            yield f"unsupported parent kind: \"{text(parent, 'Kind')}\", must be 'api-gateway'"
        parents.append((text(parent, "Name"), text(parent, "SectionName")))
    if len({*parents}) < len(parents):
        yield "route parents must be unique"
    if len(children(entry, "Services")) > 1:
        yield "tcp-route currently only supports one service"
    for at, rule in enumerate(children(entry, "Rules")):
        for number_, match in enumerate(children(rule, "Matches")):
            yield from _match(match, f"Rule[{at}], Match[{number_}],")


def _match(match: Object, label: str) -> Iterator[str]:
    if (method := text(match, "Method")) not in {"", *METHODS}:
        yield f'{label} Method contains an invalid method "{method}"'
    for member, kinds in (
        ("Query", ("present", "exact", "regex")),
        ("Headers", ("present", "exact", "prefix", "suffix", "regex")),
    ):
        for at, each in enumerate(children(match, member)):
            if not text(each, "Name"):
                yield f"{label} {member}[{at}], missing required Name field"
            if text(each, "Match") not in kinds:
                listed = f"{', '.join(kinds[:-1])}, or {kinds[-1]}"
                yield f"{label} {member}[{at}], match type should be one of {listed}"
    if is_object(path := match.get("Path")):
        kind, value = text(path, "Match"), text(path, "Value")
        if kind not in {"exact", "prefix", "regex"}:
            yield f"{label} Path, match type should be one of exact, prefix, or regex"
        if kind != "regex" and not value.startswith("/"):
            yield f"{label} Path, {kind} type match doesn't start with '/': \"{value}\""


def inline_certificate(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    """The complaints about an inline-certificate `entry`; `facts` is the version."""
    key, certificate = (_PEM.search(text(entry, member)) for member in ("PrivateKey", "Certificate"))
    if key is None:
        yield "failed to parse private key PEM"
    elif certificate is None:
        yield "failed to parse certificate PEM"
    else:
        try:
            owner = load_pem_private_key(key[0].encode(), None).public_key()
            certified = load_pem_x509_certificate(certificate[0].encode()).public_key()
        except (TypeError, ValueError) as error:
            words = f"The in-process agent does not know in what words Consul refuses this certificate: {error}"
            raise Refused(501, words) from error
        if owner != certified:
            yield "tls: private key does not match public key"
