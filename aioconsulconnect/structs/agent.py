"""Structs of the local agent: services, registrations, leaf certificates, and the agent itself."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from aioconsulconnect.errors import redact
from aioconsulconnect.structs.ca import Root
from aioconsulconnect.structs.catalog import HealthCheck
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, FrozenStruct, NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import Reader, encode, reader
from aioconsulconnect.structs.codec.request_body import refuse_nulls
from aioconsulconnect.structs.codec.unknown_fields import Part, plain
from aioconsulconnect.structs.proxy import Connect, Locality, Proxy, TaggedAddress, Weights

CheckStatus = Literal["passing", "warning", "critical"]


class LeafKey(ItemKey, frozen=True, order=True):
    """Key of a leaf certificate: the name of its service."""

    service: str


class AgentServiceKey(ItemKey, frozen=True, order=True):
    """Key of a service of one agent: its id."""

    id: str


class Leaf(ConsulStruct, frozen=True, kw_only=True):
    """
    Leaf certificate of a service, with its private key.

    The private key is masked in `repr()` and for pretty printers; pickling keeps it.

    - `serial_number`: hexadecimal, with colons between bytes.
    - `cert_pem`: the leaf certificate, then its intermediates (not always in the order of issuing), as PEM.
    - `private_key_pem`: an EC key, as PEM.
    - `service`, `service_uri`: name of the service, and its SPIFFE id as a URI.
    - `valid_after`, `valid_before`: the time in which the certificate is valid.
    """

    serial_number: str = ""
    cert_pem: str
    private_key_pem: str
    service: str
    service_uri: str
    valid_after: datetime
    valid_before: datetime
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> LeafKey:
        """The key of the certificate: every certificate of one service has the same."""
        return LeafKey(self.service)

    def signed_by(self, root: Root) -> bool:
        """
        True if `root`, or an intermediate with the same key, issued the certificate.

        It looks for the root's `signing_key_id` in the certificate; it does not verify the signature.
        """
        key = bytes.fromhex(root.signing_key_id.replace(":", ""))
        body = self.cert_pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
        return bool(key) and key in b64decode(body)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The fields with their values, the private key masked, for pretty printers."""
        return [
            (name, "***" if name == "private_key_pem" else redact(value) if isinstance(value, str) else value)
            for name, value in msgspec.structs.asdict(self).items()
        ]

    def __repr__(self) -> str:
        return redact(f"Leaf({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})")


# Beginnings of the reasons of all versions where no intention matched; what did match begins with "Matched".
_DEFAULT_REASONS = ("Default behavior", "Default intention policy", "ACLs disabled")


class Authorization(ConsulStruct, frozen=True, kw_only=True):
    """
    Decision of the agent on a connection; true if the connection is allowed.

    - `authorized`: True if the connection is allowed.
    - `reason`: text for people. It differs by version: do not parse it.
    """

    authorized: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.authorized

    @property
    def by_default(self) -> bool:
        """True if no intention matched; False if one did, and for words that are not known."""
        return self.reason.startswith(_DEFAULT_REASONS)


class AgentService(Part, frozen=True, kw_only=True):
    """
    Service as registered with the agent.

    - `kind`: empty for an application, else "connect-proxy" or the kind of a gateway.
    - `id`, `service`: id, which is unique on the agent, and name.
    - `address`, `port`, `socket_path`, `tagged_addresses`: where it listens; addresses for other callers are by tag.
    - `proxy`: settings of a proxy or gateway; None for an application.
    - `connect`: `connect.native` is True if the service speaks mutual TLS itself.
    - `datacenter`: set from Consul 1.10 on.
    - `content_hash`: set only if the service was read by itself, with `agent.service`.
    """

    kind: str = ""
    id: str
    service: str
    tags: NullAsEmpty[tuple[str, ...]] = ()
    meta: NullAsEmpty[Mapping[str, str]] = {}
    port: int = 0
    address: str = ""
    socket_path: str = ""
    tagged_addresses: NullAsEmpty[Mapping[str, TaggedAddress]] = {}
    weights: Weights | None = None
    enable_tag_override: bool = False
    proxy: Proxy | None = None
    connect: NullAsEmpty[Connect] = Connect()
    peer_name: str = ""
    locality: Locality | None = None
    datacenter: str = ""
    namespace: str = ""
    partition: str = ""
    content_hash: str = ""
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> AgentServiceKey:
        """The key of the service, unique on its agent."""
        return AgentServiceKey(self.id)


class Check(Part, frozen=True, kw_only=True):
    """
    Health check to register, with a service (`agent.register`) or by itself (`agent.register_check`).

    Give exactly one of `ttl`, `http`, `tcp`, `udp`, `grpc`, `h2_ping`, `args`, `alias_service`.

    - `ttl`: seconds within which the service must report again, with `agent.check_pass`, `check_warn` or `check_fail`.
    - `http`, `method`, `header`, `body`: URL to request, and how; `header` gives a tuple of values for each name.
    - `tcp`, `udp`: `host:port` to connect to, or to send a datagram to.
    - `grpc`, `grpc_use_tls`: `host:port` or `host:port/service` of a gRPC health service; True for TLS.
    - `h2_ping`: `host:port` to send an HTTP/2 ping to (Consul 1.10).
    - `args`, `docker_container_id`, `shell`: command to run; container to run it in, and with which shell.
    - `alias_service`, `alias_node`: id of a service, and its node, whose health this check copies.
    - `tls_server_name`, `tls_skip_verify`: host name in TLS (Consul 1.10); True to leave certificates unchecked.
    - `interval`, `timeout`: seconds between two runs by the agent, and for one run at most. All but `ttl` and
      `alias_service` need an `interval`.
    - `status`: status at first; "critical" if not given.
    - `success_before_passing`, `failures_before_warning`, `failures_before_critical`: results in a row that change the
      status.
    - `deregister_critical_service_after`: seconds (60 at least) in "critical" after which the service is removed.
    """

    check_id: str = ""
    name: str = ""
    notes: str = ""
    status: str = ""
    ttl: Seconds | None = None
    interval: Seconds | None = None
    timeout: Seconds | None = None
    http: str = ""
    method: str = ""
    header: Mapping[str, tuple[str, ...]] = {}
    body: str = ""
    tcp: str = ""
    udp: str = msgspec.field(default="", name="UDP")
    grpc: str = ""
    grpc_use_tls: bool = False
    h2_ping: str = msgspec.field(default="", name="H2PING")
    args: tuple[str, ...] = ()
    docker_container_id: str = ""
    shell: str = ""
    alias_service: str = ""
    alias_node: str = ""
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    success_before_passing: int = 0
    failures_before_warning: int = 0
    failures_before_critical: int = 0
    deregister_critical_service_after: Seconds | None = None


class CheckUpdate(Part, frozen=True, kw_only=True):
    """Body of `PUT /v1/agent/check/update/:id`."""

    status: CheckStatus
    output: str = ""


class Sidecar(Part, frozen=True, kw_only=True):
    """
    Sidecar proxy to register along with a service; Consul fills in what is not given.

    The id is that of the service with `-sidecar-proxy`. Registering the service later without a sidecar does not remove
    it.

    - `name`: default the name of the service with `-sidecar-proxy`.
    - `port`: default a free port from 21000 on.
    - `tags`, `meta`: default those of the service.
    - `proxy`: settings such as upstreams; Consul fills in the destination.
    - `checks`: default a TCP check of the port, and an alias of the health of the service.
    - `address`, `tagged_addresses`, `weights`, `enable_tag_override`: as in a registration.
    """

    name: str = ""
    port: int = 0
    address: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = {}
    tagged_addresses: Mapping[str, TaggedAddress] = {}
    weights: Weights | None = None
    proxy: Proxy | None = None
    checks: tuple[Check, ...] = ()
    enable_tag_override: bool = False


class ConnectBody(Part, frozen=True, kw_only=True):
    """`Connect` member of the body of a registration."""

    native: bool = False
    sidecar_service: Sidecar | None = None


class Registration(Part, frozen=True, kw_only=True):
    """Body of `PUT /v1/agent/service/register`."""

    kind: str = ""
    name: str
    id: str = ""
    tags: tuple[str, ...] = ()
    port: int = 0
    address: str = ""
    socket_path: str = ""
    tagged_addresses: Mapping[str, TaggedAddress] = {}
    meta: Mapping[str, str] = {}
    checks: tuple[Check, ...] = ()
    weights: Weights | None = None
    enable_tag_override: bool = False
    proxy: Proxy | None = None
    connect: ConnectBody | None = None
    locality: Locality | None = None
    token: str = ""


class AuthorizeBody(Part, frozen=True, kw_only=True):
    """Body of `POST /v1/agent/connect/authorize`."""

    target: str
    client_cert_uri: str
    client_cert_serial: str = ""
    namespace: str = ""
    partition: str = ""


class AgentInfo(FrozenStruct, frozen=True, kw_only=True):
    """
    Description of the agent itself, reduced to what matters to the mesh.

    - `version`: Consul version without build suffixes, such as "1.16.6".
    - `datacenter`, `primary_datacenter`: names; before Consul 1.10 the agent names no primary one, and both are the
      same.
    - `node`, `node_id`: name and id of the agent's node.
    - `server`: True for a server, False for a client agent.
    - `connect_enabled`: True if Connect is on; None where the agent does not tell.
    - `default_intention_policy`: the agent's own setting (Consul 1.18), "allow" or "deny"; empty where it is not set.
    """

    version: str
    datacenter: str
    primary_datacenter: str
    node: str
    node_id: str
    server: bool
    connect_enabled: bool | None
    default_intention_policy: str


class _Config(ConsulStruct, frozen=True, kw_only=True):
    version: str
    datacenter: str = ""
    primary_datacenter: str = ""
    node_name: str = ""
    node_id: str = ""
    server: bool = False


class _DebugConfig(ConsulStruct, frozen=True, kw_only=True):
    connect_enabled: bool | None = None
    default_intention_policy: str | None = None


class _Self(ConsulStruct, frozen=True, kw_only=True):
    config: _Config
    debug_config: _DebugConfig | None = None


read_leaf: Reader[Leaf] = reader(Leaf)
read_authorization: Reader[Authorization] = reader(Authorization)
read_service: Reader[AgentService] = reader(AgentService)
read_checks: Reader[dict[str, HealthCheck]] = reader(dict[str, HealthCheck])
read_services: Reader[dict[str, AgentService]] = reader(dict[str, AgentService])
_read_self = reader(_Self)


def check_body(check: Check, service_id: str, token: str) -> bytes:
    """
    Return the body that registers a check by itself.

    The id of the check has another key there than in the registration of a service.

    - `check`: the check.
    - `service_id`: id of its service; empty for a check of the node.
    - `token`: token with which the agent announces it; empty for the agent's own.
    """
    refuse_nulls(check, "check")
    data = msgspec.convert(plain(check), dict[str, object])
    named = (("ID", data.pop("CheckID", "")), ("ServiceID", service_id), ("Token", token))
    return encode({**data, **{key: value for key, value in named if value}})


def read_info(body: bytes) -> AgentInfo:
    """Read the `AgentInfo` in a body of `GET /v1/agent/self`."""
    found = _read_self(body)
    config, debug = found.config, found.debug_config or _DebugConfig()
    return AgentInfo(
        version=config.version.partition("+")[0].partition("-")[0],
        datacenter=config.datacenter,
        primary_datacenter=config.primary_datacenter or config.datacenter,
        node=config.node_name,
        node_id=config.node_id,
        server=config.server,
        connect_enabled=debug.connect_enabled,
        default_intention_policy=debug.default_intention_policy or "",
    )
