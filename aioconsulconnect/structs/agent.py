"""What the local agent holds: its services and their registration, leaf certificates, and itself."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from aioconsulconnect.structs.ca import Root
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import Reader, reader
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.proxy import Connect, Locality, Proxy, TaggedAddress, Weights

CheckStatus = Literal["passing", "warning", "critical"]


class LeafKey(NamedTuple):
    """What tells a leaf certificate from those of other services."""

    service: str


class AgentServiceKey(NamedTuple):
    """What tells a service of the agent from its others."""

    id: str


class Leaf(ConsulStruct, frozen=True, kw_only=True):
    """
    A certificate for a service, with its key: a secret, that never shows in a repr.

    `cert_pem` is the leaf, then intermediates (not always in the order of issuing); `private_key_pem` an EC key.
    `serial_number` is hex with colons. Pickling keeps the key.
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
        """What tells it from all others."""
        return LeafKey(self.service)

    def signed_by(self, root: Root) -> bool:
        """Whether `root` (or an intermediate with its key) has issued it, by the key that the certificate names."""
        key = bytes.fromhex(root.signing_key_id.replace(":", ""))
        body = self.cert_pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
        return bool(key) and key in b64decode(body)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What may be shown."""
        return [(name, "***" if name == "private_key_pem" else v) for name, v in msgspec.structs.asdict(self).items()]

    def __repr__(self) -> str:
        return f"Leaf({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Authorization(ConsulStruct, frozen=True, kw_only=True):
    """The agent's verdict; `reason` is free text that differs by version: for people, never to be parsed."""

    authorized: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.authorized


class AgentService(Part, frozen=True, kw_only=True):
    """
    A service as the agent knows it. `content_hash` comes with a single service only, `datacenter` from Consul 1.10.

    `kind` is empty for an application; `proxy` is set for proxies and gateways; `connect.native` where the service
    speaks mutual TLS itself.
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
        """What tells it from all others."""
        return AgentServiceKey(self.id)


class Check(Part, frozen=True, kw_only=True):
    """
    A health check to register: exactly one of `ttl`, `http`, `tcp`, `udp`, `grpc`, `h2_ping`, `args`, `alias_service`.

    `ttl` is in seconds, within which the service must report (`agent.check_pass` and its kin); the others are run by
    the agent every `interval` seconds, for at most `timeout`. `status` is what it starts with ("critical" if not
    given). `deregister_critical_service_after` (seconds, a minute at least) removes the service when it stays critical.
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


class Sidecar(Part, frozen=True, kw_only=True):
    """
    A sidecar proxy to register along with a service; what is not given Consul fills in.

    That is: the name and id of the service with `-sidecar-proxy`, a port from 21000 on, its tags and meta, and checks
    that something listens there and that the service is well. Registering without it later does not remove it.
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
    """The `Connect` member of a registration."""

    native: bool = False
    sidecar_service: Sidecar | None = None


class Registration(Part, frozen=True, kw_only=True):
    """The body of a registration."""

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
    """The body of a question to authorize."""

    target: str
    client_cert_uri: str
    client_cert_serial: str = ""
    namespace: str = ""
    partition: str = ""


class AgentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    The agent itself, reduced to what matters to the mesh.

    `version` is "1.16.6" without build suffixes; `connect_enabled` is None where the agent does not tell.
    `primary_datacenter` comes from Consul 1.10. `default_intention_policy` ("allow", "deny") is the agent's own setting
    (1.18), empty where it is not set.
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
read_services: Reader[dict[str, AgentService]] = reader(dict[str, AgentService])
_read_self = reader(_Self)


def read_info(body: bytes) -> AgentInfo:
    """What `/v1/agent/self` says that matters here."""
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
