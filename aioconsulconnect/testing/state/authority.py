"""The built-in CA: its configuration, its roots, their rotation, and the leaves it signs."""

import itertools
import re
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from aioconsulconnect.testing.go_json.scalars import format_duration, parse_duration
from aioconsulconnect.testing.go_json.values import Object, is_object, text
from aioconsulconnect.testing.protocol.refusals import refused_by_server
from aioconsulconnect.testing.state import certificates
from aioconsulconnect.testing.state.certificates import Signer, colons, key_id, key_pem, pem
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.version_facts import VersionFacts

_HOUR: Final = 3600 * 10**9
_YEAR: Final = 8760 * _HOUR
_CURVES: Final = (224, 256, 384, 521)


@dataclass(slots=True, eq=False)
class Root:
    """A root certificate with the data that the server keeps for it."""

    signer: Signer
    kind: str
    bits: int
    created: int
    modified: int
    active: bool = True
    intermediates: list[str] = field(default_factory=list[str])

    @property
    def id(self) -> str:
        """The fingerprint (SHA-1) that names the root."""
        return colons(self.signer.certificate.fingerprint(hashes.SHA1()))  # noqa: S303 - Consul names roots so


@dataclass(slots=True, eq=False)
class Leaf:
    """A leaf certificate that the agent holds for a service."""

    value: Object
    root: Root
    fetched: float
    index: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration of the CA as the provider understands it; lifetimes are in nanoseconds."""

    leaf: int = 72 * _HOUR
    intermediate: int = _YEAR
    root: int = 10 * _YEAR
    kind: str = "ec"
    bits: int = 256
    key: str = ""
    certificate: str = ""

    def identity(self, *, with_kind: bool) -> tuple[object, ...]:
        """The settings that make a new root when they change; the type of the key only `with_kind`."""
        return (self.key.strip(), self.certificate.strip(), *((self.kind, self.bits) if with_kind else ()))


@dataclass(frozen=True, slots=True)
class State:
    """The state of a CA in a snapshot."""

    cluster: str
    roots: tuple[Root, ...]
    config: Object | None
    settings: Settings
    force: bool
    modified: int


class Authority:
    """The CA of one agent; it makes its first root when one is read.

    `cluster` is the first part of the trust domain, by default a new UUID.
    """

    def __init__(self, store: Store, facts: VersionFacts, datacenter: str, cluster: str | None = None) -> None:
        self.store = store
        self.facts = facts
        self.datacenter = datacenter
        self.cluster: str = cluster or str(uuid.uuid4())
        optional = {"RootCertTTL": facts.root_ttl, "RotationPeriod": facts.rotation_period}
        defaults: Object = {"IntermediateCertTTL": "8760h", "LeafCertTTL": "72h"}
        self._config: Object | None = {**defaults, **{key: ttl for key, ttl in optional.items() if ttl}}
        self._settings = Settings()
        self._force = False
        self._modified = 5
        self._broken = False
        self._roots: list[Root] = []
        self._leaves: dict[tuple[str, str], Leaf] = {}
        self._serials = itertools.count(7)

    @property
    def trust_domain(self) -> str:
        """The trust domain: the domain of all SPIFFE ids of the cluster."""
        return f"{self.cluster}.consul"

    # Roots.

    @property
    def roots(self) -> list[Root]:
        """All roots, in the order of their ids, as the table keeps them."""
        if not self._roots:
            index = self.store.touched("roots")
            self._roots.append(self._make_root(self._settings, index))
        return sorted(self._roots, key=lambda root: root.id)

    @property
    def active(self) -> Root:
        """The root that signs leaves."""
        return next(root for root in self.roots if root.active)

    def _make_root(self, settings: Settings, index: int) -> Root:
        key = (
            certificates.load_key(settings.key) if settings.key else certificates.make_key(settings.kind, settings.bits)
        )
        if key is None:
            raise refused_by_server(
                "error generating CA root certificate: error generating CA: "
                f'error parsing private key "{settings.key}": no PEM-encoded data found'
            )
        if settings.certificate:
            try:
                certificate = x509.load_pem_x509_certificate(settings.certificate.encode())
            except ValueError as error:
                raise refused_by_server(f"error configuring provider: error parsing root cert: {error}") from error
        else:
            lifetime = timedelta(microseconds=settings.root // 1000)
            certificate = certificates.make_root(key, self.trust_domain, next(self._serials), lifetime)
        return Root(Signer(certificate, key), *certificates.kind_and_bits(key), created=index, modified=index)

    def roots_value(self) -> Object:
        """The roots as the JSON that the API shows."""
        return {
            "ActiveRootID": self.active.id,
            "TrustDomain": self.trust_domain,
            "Roots": [self._root_value(root) for root in self.roots],
        }

    def _root_value(self, root: Root) -> Object:
        certificate = root.signer.certificate
        return {
            "ID": root.id,
            "Name": self.facts.root_name,
            "SerialNumber": certificate.serial_number % 2**64,
            "SigningKeyID": colons(key_id(root.signer.key)),
            "ExternalTrustDomain": self.cluster,
            "NotBefore": _stamp(certificate.not_valid_before_utc),
            "NotAfter": _stamp(certificate.not_valid_after_utc),
            "RootCert": pem(certificate),
            "IntermediateCerts": root.intermediates or None,
            "Active": root.active,
            "PrivateKeyType": root.kind,
            "PrivateKeyBits": root.bits,
            "CreateIndex": root.created,
            "ModifyIndex": root.modified,
        }

    def pem(self) -> str:
        """All roots in PEM, each followed by its intermediates."""
        return "".join(pem(root.signer.certificate) + "".join(root.intermediates) for root in self.roots)

    def rotate(self, settings: Settings | None = None) -> None:
        """Make a new root, cross-signed by the old one, and wake queries for roots and for all leaves."""
        old = self.active
        new = self._make_root(settings or self._settings, self.store.index + 1)
        cross = certificates.cross_sign(new.signer.certificate, old.signer, next(self._serials))
        new.intermediates.append(pem(cross))
        index = self.store.write("roots", *(f"leaf/{service}" for service, _ in self._leaves))
        new.created = new.modified = old.modified = index
        old.active = False
        self._roots.append(new)

    def state(self) -> State:
        """Copy all but the leaves, which the agent holds, for a snapshot."""
        roots = tuple(replace(root, intermediates=list(root.intermediates)) for root in self.roots)
        return State(self.cluster, roots, self._config, self._settings, self._force, self._modified)

    def load(self, state: State) -> None:
        """Restore a snapshot; leaves of roots that are no longer there are signed anew when they are read."""
        self.cluster = state.cluster
        self._config, self._settings = state.config, state.settings
        self._force, self._modified = state.force, state.modified
        self._roots = [replace(root, intermediates=list(root.intermediates)) for root in state.roots]
        by_id = {root.id: root for root in self._roots}
        for leaf in self._leaves.values():
            leaf.root = by_id.get(leaf.root.id, leaf.root)

    def forget_leaves(self) -> None:
        """Forget the leaves, as an agent does that is started again."""
        self._leaves.clear()

    # Configuration.

    def configuration(self) -> Object:
        """The configuration as the JSON that the API shows."""
        return {
            "Provider": "consul",
            "Config": self._config,
            "State": None,
            "ForceWithoutCrossSigning": self._force,
            "CreateIndex": 5,
            "ModifyIndex": self._modified,
        }

    def configure(self, wanted: Object) -> None:
        """Replace the configuration; a changed key makes a new root, an impossible one is refused."""
        provider, config = text(wanted, "Provider"), wanted.get("Config")
        if self._broken:
            raise refused_by_server("provider not initialized")
        if provider != "consul":
            known = {"vault", "aws-pca"} if provider else set[str]()
            if provider in known:
                raise refused_by_server(f"the in-process agent has no CA provider {provider!r}", status=501)
            raise refused_by_server(f'could not initialize provider: unknown CA provider "{provider}"')
        given = config if is_object(config) else {}
        settings = read_settings(given, quotes=self.facts.durations_are_quoted)
        complete = "IntermediateCertTTL" in (self._config or {})
        if complete and config == self._config:
            return
        if not complete and self.facts.configuration_checks_index:
            self._config = {**(self._config or {}), "IntermediateCertTTL": "8760h0m0s"}
            self._modified = self.store.write("roots")
        expected = wanted.get("ModifyIndex")
        if self.facts.configuration_checks_index and expected and expected != self._modified:
            self._broken = True
            raise refused_by_server("ModifyIndex did not match existing")
        with_kind = self.facts.key_type_rotates
        changed = settings.identity(with_kind=with_kind) != self._settings.identity(with_kind=with_kind)
        if changed:
            self.rotate(settings)
        self._settings = settings
        self._config = None if config is None else dict(sorted(given.items()))
        self._force = wanted.get("ForceWithoutCrossSigning") is True
        self._modified = self.store.write("roots")

    # Leaves.

    def held(self, service: str, token: str) -> Leaf | None:
        """The leaf held for `service` and `token`; None where there is none signed by the active root."""
        leaf = self._leaves.get(self._leaf_key(service, token))
        return leaf if leaf and leaf.root is self.active else None

    def uri(self, service: str) -> str:
        """The SPIFFE id of a service."""
        return f"spiffe://{self.trust_domain}/ns/default/dc/{self.datacenter}/svc/{quote(service, safe='*/')}"

    def _leaf_key(self, service: str, token: str) -> tuple[str, str]:
        """The key of a leaf among those held: newer versions share it among all tokens."""
        return service, token if self.facts.leaf_minds_token else ""

    def leaf(self, service: str, token: str) -> Leaf:
        """The leaf of `service` for `token`, signed now where none is held."""
        if held := self.held(service, token):
            return held
        if self._broken:
            raise refused_by_server("provider not initialized")
        root = self.active
        uri = self.uri(service)
        plain = re.sub(r"[^A-Za-z0-9]", "", service)
        name = f"{plain}.svc.default.{self.cluster[:8]}.consul" if self.facts.common_names else ""
        lifetime = timedelta(microseconds=self._settings.leaf // 1000)
        certificate, key = certificates.make_leaf(uri, name, root.signer, next(self._serials), lifetime)
        index = self.store.write(f"leaf/{service}")
        serial = certificate.serial_number
        value: Object = {
            "SerialNumber": colons(serial.to_bytes(max(1, (serial.bit_length() + 7) // 8))),
            "CertPEM": pem(certificate) + "".join(root.intermediates),
            "PrivateKeyPEM": key_pem(key),
            "Service": service,
            "ServiceURI": uri,
            "ValidAfter": _stamp(certificate.not_valid_before_utc),
            "ValidBefore": _stamp(certificate.not_valid_after_utc),
            "CreateIndex": index,
            "ModifyIndex": index,
        }
        leaf = self._leaves[self._leaf_key(service, token)] = Leaf(value, root, time.monotonic(), index)
        return leaf


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def read_settings(config: Object, *, quotes: bool) -> Settings:
    """Read the settings in a configuration, in any case but not snake case; impossible ones are refused.

    `config` is the configuration; `quotes` is as for `parse_duration`.
    """
    given = {key.lower(): value for key, value in config.items()}

    def duration(key: str, default: int) -> int:
        value = given.get(key.lower(), default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        try:
            return parse_duration(str(value), quotes=quotes)
        except ValueError as error:
            raise refused_by_server(
                "error configuring provider: error decoding config: 1 error(s) decoding:\n\n"
                f"* error decoding '{key}': {error}"
            ) from error

    defaults = Settings()
    bits = given.get("privatekeybits", 0)
    settings = Settings(
        leaf=duration("LeafCertTTL", defaults.leaf),
        intermediate=duration("IntermediateCertTTL", defaults.intermediate),
        root=duration("RootCertTTL", defaults.root),
        kind=str(given.get("privatekeytype") or defaults.kind),
        bits=bits if isinstance(bits, int) and bits else defaults.bits,
        key=str(given.get("privatekey") or ""),
        certificate=str(given.get("rootcert") or ""),
    )
    if complaint := _complaint(settings):
        raise refused_by_server(f"error configuring provider: {complaint}")
    return settings


def _complaint(settings: Settings) -> str | None:
    """The first reason to refuse the settings; None where there is none."""
    least = format_duration(3 * settings.leaf)
    faults = {
        "must provide a private key when providing a root cert": bool(settings.certificate and not settings.key),
        "leaf cert TTL must be greater or equal than 1h0m0s": settings.leaf < _HOUR,
        "leaf cert TTL must be less than 8760h0m0s": settings.leaf > _YEAR,
        "Intermediate Cert TTL must be greater or equal than 3h": settings.intermediate < 3 * _HOUR,
        f"Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>={least}).": (
            settings.intermediate < 3 * settings.leaf
        ),
        "EC key length must be one of (224, 256, 384, 521) bits": (
            settings.kind == "ec" and settings.bits not in _CURVES
        ),
        "RSA key length must be 2048 or 4096 bits": settings.kind == "rsa" and settings.bits not in {2048, 4096},
        "private key type must be either 'ec' or 'rsa'": settings.kind not in {"ec", "rsa"},
        "root cert TTL is set and is not greater than intermediate cert ttl. "
        f"root cert ttl: {format_duration(settings.root)}, "
        f"intermediate cert ttl: {format_duration(settings.intermediate)}": settings.root <= settings.intermediate,
    }
    return next((complaint for complaint, holds in faults.items() if holds), None)
