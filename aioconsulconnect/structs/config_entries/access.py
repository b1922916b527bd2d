"""Config entries about who may: service-intentions, jwt-provider, exported-services."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.entry import NamedEntry
from aioconsulconnect.structs.intentions import Action, JWTRequirement, Permission


class SourceIntention(Part, frozen=True, kw_only=True):
    """
    Whether one source may connect: `action`, or `permissions` for L7.

    `precedence` and `type` are Consul's. `peer` needs Consul 1.13; `namespace`, `partition` and `sameness_group` Consul
    Enterprise. The legacy fields stand in intentions that were created by id; Consul refuses a `legacy_meta` and drops
    the other three when the entry is written.
    """

    name: str
    action: Action | None = None
    permissions: NullAsEmpty[tuple[Permission, ...]] = ()
    precedence: int = 0
    type: str = ""
    description: str = ""
    namespace: str = ""
    partition: str = ""
    peer: str = ""
    sameness_group: str = ""
    legacy_id: str = ""
    legacy_meta: NullAsEmpty[Mapping[str, str]] = {}
    legacy_create_time: datetime | None = None
    legacy_update_time: datetime | None = None


class ServiceIntentions(NamedEntry, frozen=True, kw_only=True, tag="service-intentions"):
    """
    All intentions of one destination (Consul 1.9); `name` may be `*`. Consul sorts the sources by precedence.

    `jwt` needs Consul 1.16.
    """

    sources: NullAsEmpty[tuple[SourceIntention, ...]] = ()
    jwt: JWTRequirement | None = None


class LocalJWKS(Part, frozen=True, kw_only=True):
    """Keys given here (base64 of the JSON) or in a file beside the proxy."""

    jwks: str = ""
    filename: str = ""


class RetryPolicyBackOff(Part, frozen=True, kw_only=True):
    """Seconds between tries."""

    base_interval: Seconds | None = None
    max_interval: Seconds | None = None


class RetryPolicy(Part, frozen=True, kw_only=True):
    """How often to try again to fetch keys."""

    num_retries: int = 0
    retry_policy_back_off: RetryPolicyBackOff | None = None


class TrustedCA(Part, frozen=True, kw_only=True):
    """
    Where the root certificates for fetching keys are; one of them.

    `inline_bytes` can only be read: Consul encodes it once more at every write, so `config.write` refuses it. Use
    `inline_string`.
    """

    filename: str = ""
    environment_variable: str = ""
    inline_string: str = ""
    inline_bytes: str = ""


class CertificateProviderInstance(Part, frozen=True, kw_only=True):
    """Certificates from a plugin of Envoy."""

    instance_name: str = ""
    certificate_name: str = ""


class TLSCertificates(Part, frozen=True, kw_only=True):
    """Which roots to trust when keys are fetched."""

    ca_certificate_provider_instance: CertificateProviderInstance | None = None
    trusted_ca: TrustedCA | None = None


class JWKSCluster(Part, frozen=True, kw_only=True):
    """How the proxy reaches the server of the keys. `discovery_type` such as "STRICT_DNS"."""

    discovery_type: str = ""
    connect_timeout: Seconds | None = None
    tls_certificates: TLSCertificates | None = None


class RemoteJWKS(Part, frozen=True, kw_only=True):
    """Keys to be fetched. `use_sni` needs a Consul newer than 1.20."""

    uri: str = ""
    request_timeout_ms: int = 0
    cache_duration: Seconds | None = None
    fetch_asynchronously: bool = False
    use_sni: bool = False
    retry_policy: RetryPolicy | None = None
    jwks_cluster: JWKSCluster | None = None


class JSONWebKeySet(Part, frozen=True, kw_only=True):
    """Where the keys are; one of the two."""

    local: LocalJWKS | None = None
    remote: RemoteJWKS | None = None


class JWTLocationHeader(Part, frozen=True, kw_only=True):
    """A token in a header, after `value_prefix`; `forward` leaves it there for the service."""

    name: str = ""
    value_prefix: str = ""
    forward: bool = False


class JWTLocationQueryParam(Part, frozen=True, kw_only=True):
    """A token in a parameter of the query."""

    name: str = ""


class JWTLocationCookie(Part, frozen=True, kw_only=True):
    """A token in a cookie."""

    name: str = ""


class JWTLocation(Part, frozen=True, kw_only=True):
    """Where a token may stand; one of the three."""

    header: JWTLocationHeader | None = None
    query_param: JWTLocationQueryParam | None = None
    cookie: JWTLocationCookie | None = None


class JWTForwarding(Part, frozen=True, kw_only=True):
    """In which header the verified payload goes to the service."""

    header_name: str = ""
    pad_forward_payload_header: bool = False


class JWTCacheConfig(Part, frozen=True, kw_only=True):
    """How many tokens are remembered."""

    size: int = 0


class JWTProvider(NamedEntry, frozen=True, kw_only=True, tag="jwt-provider"):
    """Whose tokens are good, and where they stand (Consul 1.16). A `clock_skew_seconds` of 0 becomes 30."""

    json_web_key_set: JSONWebKeySet | None = None
    issuer: str = ""
    audiences: NullAsEmpty[tuple[str, ...]] = ()
    locations: NullAsEmpty[tuple[JWTLocation, ...]] = ()
    forwarding: JWTForwarding | None = None
    clock_skew_seconds: int = 0
    cache_config: JWTCacheConfig | None = None


class Consumer(Part, frozen=True, kw_only=True):
    """Who gets a service: a peer, or in Consul Enterprise a partition or sameness group."""

    peer: str = ""
    partition: str = ""
    sameness_group: str = ""


class ExportedService(Part, frozen=True, kw_only=True):
    """A service and who gets it."""

    name: str
    namespace: str = ""
    consumers: NullAsEmpty[tuple[Consumer, ...]] = ()


class ExportedServices(NamedEntry, frozen=True, kw_only=True, tag="exported-services"):
    """The services that peers may use (Consul 1.14 in the Community Edition). The one name is `default`."""

    name: str = "default"
    services: NullAsEmpty[tuple[ExportedService, ...]] = ()
