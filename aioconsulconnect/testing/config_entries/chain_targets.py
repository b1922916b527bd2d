"""The targets of a discovery chain, and the settings of a request that precede the entries."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.go_json.struct_hash import Hashed, struct_hash
from aioconsulconnect.testing.version_facts import VersionFacts


@dataclass(frozen=True, slots=True)
class Target:
    """A set of instances that a request may end at: a service, a subset of it, a datacenter or a peer."""

    service: str
    subset: str
    datacenter: str
    peer: str = ""

    def key(self, facts: VersionFacts) -> str:
        """The id of the target in a version."""
        if self.peer:
            return f"{self.service}.{facts.chain_scope}.external.{self.peer}"
        subset = f"{self.subset}." if self.subset else ""
        return f"{subset}{self.service}.{facts.chain_scope}.{self.datacenter}"

    def sni(self, trust_domain: str) -> str:
        """The TLS server name (SNI) of the target."""
        subset = f"{self.subset}." if self.subset else ""
        return f"{subset}{self.service}.default.{self.datacenter}.internal.{trust_domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The settings of a request for a chain that take precedence over the entries; empty ones do not."""

    gateway_mode: str = ""
    protocol: str = ""
    connect_timeout: str = ""

    def hash_of(self, changed: AbstractSet[str]) -> str:
        """The hash of those settings that have `changed` a chain: "gateway", "protocol", "timeout"."""
        members: dict[str, Hashed] = {
            "OverrideMeshGateway": ("MeshGatewayConfig", {"Mode": self.gateway_mode if "gateway" in changed else ""}),
            "OverrideProtocol": self.protocol if "protocol" in changed else "",
            "OverrideConnectTimeout": parse_duration(self.connect_timeout) if "timeout" in changed else 0,
        }
        return f"{struct_hash(('', members)):x}"[:8]
