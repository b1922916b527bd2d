"""Structs of the certificate authority of the mesh: its roots and its configuration."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from aioconsulconnect.errors import InvalidRequest, redact
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, FrozenStruct, Nullable, NullAsEmpty, hashable
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import Reader, cause, reader

_SECRET = re.compile(r"private_?key$|token|secret|password|params|auth_?method", re.IGNORECASE)


class RootKey(ItemKey, frozen=True, order=True):
    """Key of a root certificate: its id."""

    id: str


class Root(Nullable, frozen=True, kw_only=True):
    """
    Root certificate of the mesh.

    - `id`, `name`, `serial_number`: identification of the root; `id` is unique.
    - `signing_key_id`: id of the key that signs leaf certificates, hexadecimal with colons.
    - `external_trust_domain`: despite its name usually the id of this cluster, without `.consul`.
    - `not_before`, `not_after`: the time in which the certificate is valid.
    - `root_cert`: the certificate, as PEM.
    - `intermediate_certs`: further certificates, PEM each; after a rotation the new root, signed by the old one.
    - `active`: True for the root that signs now.
    - `private_key_type`, `private_key_bits`: kind ("ec" or "rsa") and size of the key.
    """

    id: str
    name: str = ""
    serial_number: int = 0
    signing_key_id: str = ""
    external_trust_domain: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    root_cert: str = ""
    intermediate_certs: NullAsEmpty[tuple[str, ...]] = ()
    active: bool = False
    private_key_type: str = ""
    private_key_bits: int = 0
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> RootKey:
        """The key of the root, unique among all roots."""
        return RootKey(self.id)


class Roots(Nullable, frozen=True, kw_only=True):
    """
    All roots that are trusted now, and the trust domain.

    - `active_root_id`: id of the root that signs now.
    - `trust_domain`: the host that a SPIFFE id must have.
    - `roots`: the roots; the active one is not necessarily the first. After a rotation the old root stays for as long
      as its leaf certificates may live.
    """

    active_root_id: str = msgspec.field(default="", name="ActiveRootID")
    trust_domain: str = ""
    roots: NullAsEmpty[tuple[Root, ...]] = ()

    @property
    def active(self) -> Root | None:
        """The root that signs now; None while the authority has none."""
        return next((root for root in self.roots if root.id == self.active_root_id), None)


class CAConfig(ConsulStruct, frozen=True, kw_only=True):
    """
    Configuration of the built-in certificate authority (provider "consul").

    Durations are Go's texts, such as "72h" or "30m". None leaves a value to Consul.

    - `leaf_cert_ttl`: lifetime of leaf certificates, "1h" to "8760h".
    - `intermediate_cert_ttl`: at least three times `leaf_cert_ttl`.
    - `root_cert_ttl`: more than `intermediate_cert_ttl` (Consul 1.11).
    - `private_key_type`, `private_key_bits`: "ec" with 224, 256, 384 or 521, or "rsa" with 2048 or 4096.
    - `private_key`, `root_cert`: key and root of your own, as PEM. Another key makes another root.
    - `csr_max_per_second`, `csr_max_concurrent`: limits of signing: requests a second, and at the same time.
    - `disable_cross_signing`: True if the provider must not cross-sign a new root.
    - `skip_validate`: True to skip Consul's validation of the configuration.
    - `rotation_period`: known to Consul 1.8 to 1.10.0 alone, and without effect.
    """

    leaf_cert_ttl: str | None = msgspec.field(default=None, name="LeafCertTTL")
    intermediate_cert_ttl: str | None = msgspec.field(default=None, name="IntermediateCertTTL")
    root_cert_ttl: str | None = msgspec.field(default=None, name="RootCertTTL")
    private_key_type: Literal["ec", "rsa"] | None = None
    private_key_bits: int | None = None
    private_key: str | None = None
    root_cert: str | None = None
    csr_max_per_second: float | None = msgspec.field(default=None, name="CSRMaxPerSecond")
    csr_max_concurrent: int | None = msgspec.field(default=None, name="CSRMaxConcurrent")
    disable_cross_signing: bool | None = None
    skip_validate: bool | None = None
    rotation_period: str | None = None

    def __repr__(self) -> str:
        """The fields that are set, secrets masked."""
        return f"CAConfig({_shown(msgspec.structs.asdict(self))})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The fields with their values, secrets masked, for pretty printers."""
        return [
            (name, "***" if _SECRET.search(name) else redact(value) if isinstance(value, str) else value)
            for name, value in msgspec.structs.asdict(self).items()
        ]


class ProviderConfig(Mapping[str, object]):
    """
    Configuration of a provider exactly as Consul stores it, as a read-only mapping.

    Its `repr()` masks secrets.
    """

    def __init__(self, stored: Mapping[str, object]) -> None:
        self._stored = dict(stored)

    def __getitem__(self, key: str) -> object:
        return self._stored[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __hash__(self) -> int:
        return hash(hashable(self._stored))

    def __repr__(self) -> str:
        return f"ProviderConfig({_shown(self._stored)})"


class CAConfiguration(FrozenStruct, frozen=True, kw_only=True):
    """
    Configuration of the certificate authority, as stored.

    - `provider`: name of the provider: "consul" for the built-in one.
    - `config`: the stored keys of the provider; for the built-in one, `consul` has them typed.
    - `state`: state that the provider keeps.
    - `force_without_cross_signing`: True if the authority may rotate without cross-signing.
    - `create_index`, `modify_index`: Consul's indexes.
    """

    provider: str
    config: ProviderConfig
    state: Mapping[str, str]
    force_without_cross_signing: bool
    create_index: int
    modify_index: int

    @property
    def consul(self) -> CAConfig | None:
        """
        The configuration of the built-in provider with types; None for any other provider.

        A number that is stored as text is read as a number. Raises InvalidRequest if the stored keys do not fit.
        """
        if self.provider != "consul":
            return None
        try:
            return msgspec.convert(dict(self.config), CAConfig, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidRequest(
                f"the stored configuration of the provider is not what it should be: {error}"
            ) from cause(error)


class _Configuration(Nullable, frozen=True, kw_only=True):
    provider: str = ""
    config: NullAsEmpty[dict[str, object]] = {}
    state: NullAsEmpty[dict[str, str]] = {}
    force_without_cross_signing: bool = False
    create_index: int = 0
    modify_index: int = 0


class ConfigurationBody(ConsulStruct, frozen=True, kw_only=True, omit_defaults=False):
    """
    Body of `PUT /v1/connect/ca/configuration`.

    It never has a ModifyIndex: a stale one breaks the built-in authority for good.
    """

    provider: str
    config: Mapping[str, object]
    force_without_cross_signing: bool


read_roots: Reader[Roots] = reader(Roots)
_read_configuration = reader(_Configuration)


def read_configuration(body: bytes) -> CAConfiguration:
    """Read the `CAConfiguration` in a body of `GET /v1/connect/ca/configuration`."""
    found = _read_configuration(body)
    return CAConfiguration(
        provider=found.provider,
        config=ProviderConfig(found.config),
        state=found.state,
        force_without_cross_signing=found.force_without_cross_signing,
        create_index=found.create_index,
        modify_index=found.modify_index,
    )


def roots_by_key(roots: Roots) -> dict[Hashable, Root]:
    """Return the roots by their keys."""
    return {root.key: root for root in roots.roots}


def without_active_root(roots: Roots) -> bool:
    """True if no root is active, as on a server that has just lost its state."""
    return roots.active is None


def provider_config(config: CAConfig | Mapping[str, object]) -> Mapping[str, object]:
    """
    Return the keys of a provider's configuration to send.

    `config` is a `CAConfig`, of which only what is set is sent, or a map with Consul's keys. Raises InvalidRequest for
    what Consul would misread: keys in snake_case, which it stores and ignores, and bare numbers as durations, which it
    takes for nanoseconds.
    """
    if isinstance(config, CAConfig):
        config = {
            field.encode_name: value
            for field in msgspec.structs.fields(CAConfig)
            if (value := getattr(config, field.name)) is not None
        }
    for key, value in config.items():
        if "_" in key:
            raise InvalidRequest(f"config[{key!r}]: Consul stores keys in snake_case and ignores them; use CamelCase")
        if key.lower().endswith(("ttl", "period")) and isinstance(value, int | float):
            raise InvalidRequest(f"config[{key!r}]: a number means nanoseconds here; write a duration such as '72h'")
    return dict(config)


def _shown(values: Mapping[str, object]) -> str:
    return redact(
        ", ".join(
            f"{key}={'***' if _SECRET.search(key) else repr(value)}"
            for key, value in values.items()
            if value is not None
        )
    )
