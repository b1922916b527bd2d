"""The configuration of the built-in CA, as its provider reads it."""

from dataclasses import dataclass
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.scalars import format_duration
from aioconsulconnect.testing.go_json.schema import Field, Struct
from aioconsulconnect.testing.go_json.values import Object, number, text
from aioconsulconnect.testing.go_json.weak_decoder import decode_scalars
from aioconsulconnect.testing.protocol.refusals import refused_by_server
from aioconsulconnect.testing.version_facts import VersionFacts

_HOUR: Final = 3600 * 10**9
_YEAR: Final = 8760 * _HOUR
CURVES: Final = (224, 256, 384, 521)
_SETTINGS: Final = Struct(
    (
        Field("LeafCertTTL", "nanoseconds"),
        Field("IntermediateCertTTL", "nanoseconds"),
        Field("RootCertTTL", "nanoseconds", since="1.11"),
        Field("RotationPeriod", "nanoseconds", until="1.8"),
        Field("SkipValidate", "bool"),
        Field("CSRMaxPerSecond", "float64", go_type="float32"),
        Field("CSRMaxConcurrent", "int"),
        Field("PrivateKeyType"),
        Field("PrivateKeyBits", "int"),
        Field("PrivateKey"),
        Field("RootCert"),
        Field("DisableCrossSigning", "bool"),
    )
)
_DEFAULTS: Final[Object] = {
    "LeafCertTTL": 72 * _HOUR,
    "IntermediateCertTTL": _YEAR,
    "RootCertTTL": 10 * _YEAR,
    "PrivateKeyType": "ec",
    "PrivateKeyBits": 256,
}


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
    unchecked: bool = False
    """True if the settings are taken however odd they are."""

    def identity(self, *, with_kind: bool) -> tuple[object, ...]:
        """The settings that make a new root when they change; the type of the key only `with_kind`."""
        return (self.key.strip(), self.certificate.strip(), *((self.kind, self.bits) if with_kind else ()))


def read_settings(config: Object, facts: VersionFacts) -> Settings:
    """Read the settings in `config`, as the version of `facts` knows them.

    Their names count in any case, but not in snake case. `Refused` for impossible ones.
    """
    try:
        given = _DEFAULTS | decode_scalars(config, _SETTINGS, facts.version)
    except DecodeError as error:
        raise refused_by_server(f"error configuring provider: error decoding config: {error}") from error
    settings = Settings(
        leaf=number(given, "LeafCertTTL"),
        intermediate=number(given, "IntermediateCertTTL"),
        root=number(given, "RootCertTTL"),
        kind=text(given, "PrivateKeyType"),
        bits=number(given, "PrivateKeyBits"),
        key=text(given, "PrivateKey"),
        certificate=text(given, "RootCert"),
        unchecked=given.get("SkipValidate") is True,
    )
    if complaint := _complaint(settings, root_ends=facts.root_ttl is not None):
        raise refused_by_server(f"error configuring provider: {complaint}")
    return settings


def _complaint(settings: Settings, *, root_ends: bool) -> str | None:
    """The first reason to refuse the settings; None where there is none.

    With `root_ends` the root may not end before what it signs.
    """
    if settings.certificate and not settings.key:
        return "must provide a private key when providing a root cert"
    if settings.unchecked:
        return None
    least = format_duration(3 * settings.leaf)
    faults = {
        "root cert TTL is set and is not greater than intermediate cert ttl. "
        f"root cert ttl: {format_duration(settings.root)}, "
        f"intermediate cert ttl: {format_duration(settings.intermediate)}": (
            root_ends and settings.root < settings.intermediate
        ),
        "leaf cert TTL must be greater or equal than 1h0m0s": settings.leaf < _HOUR,
        "leaf cert TTL must be less than 8760h0m0s": settings.leaf > _YEAR,
        "Intermediate Cert TTL must be greater or equal than 3h": settings.intermediate < 3 * _HOUR,
        f"Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>={least}).": (
            settings.intermediate < 3 * settings.leaf
        ),
        "EC key length must be one of (224, 256, 384, 521) bits": (
            settings.kind == "ec" and settings.bits not in CURVES
        ),
        "RSA key length must be 2048 or 4096 bits": settings.kind == "rsa" and settings.bits not in {2048, 4096},
        "private key type must be either 'ec' or 'rsa'": settings.kind not in {"ec", "rsa"},
    }
    return next((complaint for complaint, holds in faults.items() if holds), None)
