"""Settings of a decision: the default, the mode, trust domains, the mesh entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from aioconsulconnect.authorization.rules.normalization import CONSULS_DEFAULT
from aioconsulconnect.authorization.rules.source import Peer, Trust
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import Action

Mode = Literal["consul", "envoy"]


class DecisionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Settings of a decision, all that decides beside the intentions themselves.

    - `default`: what holds where no intention matches, "allow" or "deny"; None where it is not known, which denies.
    - `mode`: "consul" for the first match as documented, "envoy" for what a sidecar enforces.
    - `trust_domain`: the own trust domain (`Roots.trust_domain`), in any case; empty where it is not known, which
      denies every SPIFFE id.
    - `compare_trust_domain`: False to ignore trust domains, as the agent does; not together with `peers`.
    - `peers`: peers whose services may call.
    - `normalization`: normalization of requests, from the mesh entry; the default is Consul's from 1.20.1 on. None
      where the entry is not known, which denies every request.
    - `issuers`: issuer of each JWT provider by its name, for comparison with the claim `iss`; None where whoever
      verified the tokens compared it.
    - `enterprise`: True if Consul has namespaces and partitions; False denies every identity of another one than the
      default.
    """

    default: Action | None = None
    mode: Mode = "consul"
    trust_domain: str = ""
    compare_trust_domain: bool = True
    peers: tuple[Peer, ...] = ()
    normalization: RequestNormalization | None = CONSULS_DEFAULT
    issuers: Mapping[str, str] | None = None
    enterprise: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a default or a mode that there is not."""
        if self.default not in {None, "allow", "deny"}:
            raise InvalidRequest(f"default must be 'allow', 'deny' or None, not {self.default!r}")
        if self.peers and not self.compare_trust_domain:
            raise InvalidRequest("peers are told apart by their trust domains: leave compare_trust_domain True")
        if self.mode not in {"consul", "envoy"}:
            raise InvalidRequest(f"mode must be 'consul' or 'envoy', not {self.mode!r}")

    @property
    def trust(self) -> Trust:
        """The trust domains to compare identities with."""
        return Trust(domain=self.trust_domain, compare=self.compare_trust_domain, peers=self.peers)
