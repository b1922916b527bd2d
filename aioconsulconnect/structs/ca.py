"""The certificate authority of the mesh: its roots and its configuration."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, Nullable, NullAsEmpty
from aioconsulconnect.structs.codec.json_body import Reader, reader

_SECRET = re.compile(r"private_?key$|token|secret|password|params|auth_?method", re.IGNORECASE)


class RootKey(NamedTuple):
    """What tells a root from all others."""

    id: str


class Root(Nullable, frozen=True, kw_only=True):
    """
    A root certificate. `root_cert` is PEM, `intermediate_certs` PEM each (after a rotation: the new root, signed by
    the old one). `external_trust_domain` is, despite its name, usually the own cluster's id without `.consul`.
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
        """What tells it from all others."""
        return RootKey(self.id)


class Roots(Nullable, frozen=True, kw_only=True):
    """
    All roots that are trusted now. After a rotation the old one stays for as long as its leaves may live, and the
    active one is not necessarily the first. `trust_domain` is what the host of a SPIFFE id must be.
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
    The keys of the built-in provider ("consul"). Durations are Go's ("72h", "30m"); what is None is left to Consul.

    `leaf_cert_ttl` from 1h to 8760h, `intermediate_cert_ttl` at least three times that, `root_cert_ttl` (1.11) above
    it. `private_key_type` "ec" (bits 224, 256, 384, 521) or "rsa" (2048, 4096). `private_key` and `root_cert`: PEM of
    your own; another key is another root. `rotation_period` is known to 1.8 to 1.10.0 alone, and without effect.
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
        """What is set, without the key."""
        return f"CAConfig({_shown(msgspec.structs.asdict(self))})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The same for pretty printers that ask for the fields."""
        return [(name, "***" if _SECRET.search(name) else v) for name, v in msgspec.structs.asdict(self).items()]


class ProviderConfig(Mapping[str, object]):
    """A provider's configuration exactly as Consul stores it, read-only; its repr shows no secrets."""

    def __init__(self, stored: Mapping[str, object]) -> None:
        self._stored = dict(stored)

    def __getitem__(self, key: str) -> object:
        return self._stored[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        return f"ProviderConfig({_shown(self._stored)})"


class CAConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """
    The configuration of the certificate authority.

    `config` is the stored map of any provider; for the built-in one ("consul") `consul` is the same with types.
    """

    provider: str
    config: ProviderConfig
    state: Mapping[str, str]
    force_without_cross_signing: bool
    create_index: int
    modify_index: int

    @property
    def consul(self) -> CAConfig | None:
        """The map as the built-in provider reads it (a number may stand as text there); None for other providers."""
        if self.provider != "consul":
            return None
        try:
            return msgspec.convert(dict(self.config), CAConfig, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidRequest(
                f"the stored configuration of the provider is not what it should be: {error}"
            ) from error


class _Configuration(Nullable, frozen=True, kw_only=True):
    provider: str = ""
    config: NullAsEmpty[dict[str, object]] = {}
    state: NullAsEmpty[dict[str, str]] = {}
    force_without_cross_signing: bool = False
    create_index: int = 0
    modify_index: int = 0


class ConfigurationBody(ConsulStruct, frozen=True, kw_only=True, omit_defaults=False):
    """What an update sends. No ModifyIndex, ever: a stale one breaks the built-in authority for good."""

    provider: str
    config: Mapping[str, object]
    force_without_cross_signing: bool


read_roots: Reader[Roots] = reader(Roots)
_read_configuration = reader(_Configuration)


def read_configuration(body: bytes) -> CAConfiguration:
    """The configuration in a body."""
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
    """The roots by what tells them apart."""
    return {root.key: root for root in roots.roots}


def without_active_root(roots: Roots) -> bool:
    """Whether no root signs: what a server says that has just lost its state."""
    return roots.active is None


def provider_config(config: CAConfig | Mapping[str, object]) -> Mapping[str, object]:
    """The map to send, checked for what Consul would store and ignore."""
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
    return ", ".join(
        f"{key}={'***' if _SECRET.search(key) else repr(value)}" for key, value in values.items() if value is not None
    )
