"""Structs of config entries about access: service-intentions, jwt-provider, exported-services."""

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
    Rule for one source of a `ServiceIntentions` entry.

    - `name`: source service, or `*` for all.
    - `action`, `permissions`: "allow" or "deny", or the rules for requests (L7); give one of the two.
    - `description`: at most 512 bytes.
    - `peer`: peer of the source (Consul 1.13); empty for a local one.
    - `namespace`, `partition`, `sameness_group`: Consul Enterprise.
    - `precedence`, `type`: set by Consul.
    - `legacy_id`, `legacy_meta`, `legacy_create_time`, `legacy_update_time`: set if the intention was created by id.
      When the entry is written, Consul refuses a `legacy_meta` and drops the other three.
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
    All intentions of one destination (kind service-intentions, Consul 1.9).

    - `name`: destination service, or `*` for all.
    - `sources`: a rule for each source; Consul sorts them by precedence.
    - `jwt`: JSON Web Token that every request must have (Consul 1.16).
    """

    sources: NullAsEmpty[tuple[SourceIntention, ...]] = ()
    jwt: JWTRequirement | None = None


class LocalJWKS(Part, frozen=True, kw_only=True):
    """
    JSON Web Key Set that is given in the entry, or in a file beside the proxy.

    - `jwks`: the keys, as base64 of the JSON.
    - `filename`: path of the file.
    """

    jwks: str = ""
    filename: str = ""


class RetryPolicyBackOff(Part, frozen=True, kw_only=True):
    """
    Backoff between tries to fetch keys.

    `base_interval` and `max_interval` are the first and the longest pause, in seconds.
    """

    base_interval: Seconds | None = None
    max_interval: Seconds | None = None


class RetryPolicy(Part, frozen=True, kw_only=True):
    """
    Retries when keys are fetched.

    - `num_retries`: number of retries.
    - `retry_policy_back_off`: time between them.
    """

    num_retries: int = 0
    retry_policy_back_off: RetryPolicyBackOff | None = None


class TrustedCA(Part, frozen=True, kw_only=True):
    """
    Root certificates for fetching keys; give one of the fields.

    - `filename`: path of a file beside the proxy.
    - `environment_variable`: variable of the proxy that holds the certificates.
    - `inline_string`: the certificates themselves.
    - `inline_bytes`: the same as read from Consul. It cannot be written: Consul encodes it once more at every write, so
      `config.write` refuses it. Use `inline_string`.
    """

    filename: str = ""
    environment_variable: str = ""
    inline_string: str = ""
    inline_bytes: str = ""


class CertificateProviderInstance(Part, frozen=True, kw_only=True):
    """
    Certificates from a certificate provider plugin of Envoy.

    `instance_name` and `certificate_name` are the names that the plugin knows.
    """

    instance_name: str = ""
    certificate_name: str = ""


class TLSCertificates(Part, frozen=True, kw_only=True):
    """
    Root certificates to trust when keys are fetched; give one of the fields.

    - `ca_certificate_provider_instance`: roots from a plugin of Envoy.
    - `trusted_ca`: roots from a file, a variable or the entry itself.
    """

    ca_certificate_provider_instance: CertificateProviderInstance | None = None
    trusted_ca: TrustedCA | None = None


class JWKSCluster(Part, frozen=True, kw_only=True):
    """
    Connection of the proxy to the server of the keys.

    - `discovery_type`: discovery in Envoy's words, such as "STRICT_DNS".
    - `connect_timeout`: seconds to connect.
    - `tls_certificates`: root certificates to trust.
    """

    discovery_type: str = ""
    connect_timeout: Seconds | None = None
    tls_certificates: TLSCertificates | None = None


class RemoteJWKS(Part, frozen=True, kw_only=True):
    """
    JSON Web Key Set that the proxy fetches from a server.

    - `uri`: URI of the keys.
    - `request_timeout_ms`: milliseconds for a request.
    - `cache_duration`: seconds for which fetched keys are kept.
    - `fetch_asynchronously`: True to fetch keys when a request arrives, which then waits; False to fetch them before
      the proxy listens.
    - `use_sni`: True to send the host name in TLS. It needs a Consul newer than 1.20.
    - `retry_policy`: retries when a request fails.
    - `jwks_cluster`: connection to the server.
    """

    uri: str = ""
    request_timeout_ms: int = 0
    cache_duration: Seconds | None = None
    fetch_asynchronously: bool = False
    use_sni: bool = False
    retry_policy: RetryPolicy | None = None
    jwks_cluster: JWKSCluster | None = None


class JSONWebKeySet(Part, frozen=True, kw_only=True):
    """Keys that verify tokens: `local` ones or `remote` ones; give one of the two."""

    local: LocalJWKS | None = None
    remote: RemoteJWKS | None = None


class JWTLocationHeader(Part, frozen=True, kw_only=True):
    """
    Token in a request header.

    - `name`: name of the header.
    - `value_prefix`: text before the token, such as "Bearer ".
    - `forward`: True to leave the header there for the service.
    """

    name: str = ""
    value_prefix: str = ""
    forward: bool = False


class JWTLocationQueryParam(Part, frozen=True, kw_only=True):
    """Token in the query parameter `name`."""

    name: str = ""


class JWTLocationCookie(Part, frozen=True, kw_only=True):
    """Token in the cookie `name`."""

    name: str = ""


class JWTLocation(Part, frozen=True, kw_only=True):
    """Place of a token in a request: `header`, `query_param` or `cookie`; give one of the three."""

    header: JWTLocationHeader | None = None
    query_param: JWTLocationQueryParam | None = None
    cookie: JWTLocationCookie | None = None


class JWTForwarding(Part, frozen=True, kw_only=True):
    """
    Header in which the verified payload of a token goes to the service.

    - `header_name`: name of the header.
    - `pad_forward_payload_header`: True to pad its base64 text.
    """

    header_name: str = ""
    pad_forward_payload_header: bool = False


class JWTCacheConfig(Part, frozen=True, kw_only=True):
    """Cache of verified tokens; `size` is the number of results that it holds, 0 for none."""

    size: int = 0


class JWTProvider(NamedEntry, frozen=True, kw_only=True, tag="jwt-provider"):
    """
    Issuer of JSON Web Tokens, and how they are verified (kind jwt-provider, Consul 1.16).

    - `json_web_key_set`: keys that verify the tokens.
    - `issuer`, `audiences`: issuer and audiences that a token must name.
    - `locations`: places in a request where a token may be; without any, Envoy's default.
    - `forwarding`: header in which the payload goes to the service.
    - `clock_skew_seconds`: seconds by which clocks may differ; Consul makes 30 of 0.
    - `cache_config`: cache of verified tokens.
    """

    json_web_key_set: JSONWebKeySet | None = None
    issuer: str = ""
    audiences: NullAsEmpty[tuple[str, ...]] = ()
    locations: NullAsEmpty[tuple[JWTLocation, ...]] = ()
    forwarding: JWTForwarding | None = None
    clock_skew_seconds: int = 0
    cache_config: JWTCacheConfig | None = None


class Consumer(Part, frozen=True, kw_only=True):
    """
    Consumer of an exported service: a `peer`.

    In Consul Enterprise it can also be a `partition` or a `sameness_group`.
    """

    peer: str = ""
    partition: str = ""
    sameness_group: str = ""


class ExportedService(Part, frozen=True, kw_only=True):
    """
    Service that is exported, and its `consumers`.

    `name` is the service; its `namespace` is for Consul Enterprise.
    """

    name: str
    namespace: str = ""
    consumers: NullAsEmpty[tuple[Consumer, ...]] = ()


class ExportedServices(NamedEntry, frozen=True, kw_only=True, tag="exported-services"):
    """
    Services that peers may use (kind exported-services, Consul 1.14 in the Community Edition).

    There is one entry, and its name is `default`.
    """

    name: str = "default"
    services: NullAsEmpty[tuple[ExportedService, ...]] = ()
