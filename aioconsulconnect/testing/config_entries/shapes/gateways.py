"""The members of the configuration entries of gateways, and the versions that have them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes.shared import ENTRY_HEAD, ENTRY_TAIL, PASSIVE_HEALTH_CHECK
from aioconsulconnect.testing.config_entries.shapes.traffic import REQUEST_AND_RESPONSE
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct

_TEXTS: Final = ListOf("string")
_LIMITS: Final = (
    Field("MaxConnections", "uint32"),
    Field("MaxPendingRequests", "uint32"),
    Field("MaxConcurrentRequests", "uint32"),
)
_PASSIVE: Final = Field("PassiveHealthCheck", PASSIVE_HEALTH_CHECK, since="1.16")
_SDS: Final = Field("SDS", Struct((Field("ClusterName"), Field("CertResource"))), since="1.11")
_GATEWAY_TLS: Final = Struct(
    (
        Field("Enabled", "bool", always=True),
        _SDS,
        Field("TLSMinVersion", since="1.16", go_type="types.TLSVersion"),
        Field("TLSMaxVersion", since="1.16", go_type="types.TLSVersion"),
        Field("CipherSuites", _TEXTS, since="1.16", go_type="types.TLSCipherSuite"),
    )
)
INGRESS_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("TLS", _GATEWAY_TLS, always=True),
        Field(
            "Listeners",
            ListOf(
                Struct(
                    (
                        Field("Port", "int", always=True),
                        Field("Protocol", always=True),
                        Field("TLS", _GATEWAY_TLS, since="1.11"),
                        Field(
                            "Services",
                            ListOf(
                                Struct(
                                    (
                                        Field("Name", always=True),
                                        Field("Hosts", _TEXTS, always=True),
                                        Field("TLS", Struct((_SDS,)), since="1.11"),
                                        *REQUEST_AND_RESPONSE,
                                        *(Field(each.name, each.of, since="1.16") for each in _LIMITS),
                                        _PASSIVE,
                                    )
                                )
                            ),
                            always=True,
                        ),
                    )
                )
            ),
            always=True,
        ),
        Field(
            "Defaults",
            Struct((*(Field(each.name, each.of, always=True, snaked=False) for each in _LIMITS), _PASSIVE)),
            since="1.16",
        ),
        *ENTRY_TAIL,
    )
)
TERMINATING_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field(
            "Services",
            ListOf(
                Struct(
                    (
                        Field("Name"),
                        Field("CAFile"),
                        Field("CertFile"),
                        Field("KeyFile"),
                        Field("SNI"),
                        Field("DisableAutoHostRewrite", "bool", since="1.20", snaked=False),
                    )
                )
            ),
            always=True,
        ),
        *ENTRY_TAIL,
    )
)

CERTIFICATE: Final = (Field("Certificate", always=True), Field("PrivateKey", always=True, snaked=False))
INLINE_CERTIFICATE: Final = Struct((*ENTRY_HEAD, *CERTIFICATE, *ENTRY_TAIL))

# API gateways: hardly anything is left out when it is empty, so what is absent is null.

_POLICY: Final = Struct((Field("JWT", Struct(())),))
_RESOURCE: Final = Struct(
    (Field("Kind", always=True), Field("Name", always=True), Field("SectionName", always=True, snaked=False))
)
STATUS: Final = Struct(
    (
        Field(
            "Conditions",
            ListOf(
                Struct(
                    (
                        Field("Type", always=True),
                        Field("Status", always=True),
                        Field("Reason", always=True),
                        Field("Message", always=True),
                        Field("Resource", _RESOURCE, always=True),
                        Field("LastTransitionTime", always=True),
                    )
                )
            ),
            always=True,
        ),
    )
)
API_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field(
            "Listeners",
            ListOf(
                Struct(
                    (
                        Field("Name", always=True),
                        Field("Hostname", always=True),
                        Field("Port", "int", always=True),
                        Field("Protocol", always=True, go_type="structs.APIGatewayListenerProtocol"),
                        Field(
                            "TLS",
                            Struct(
                                (
                                    Field("Certificates", ListOf(_RESOURCE), always=True),
                                    Field("MaxVersion", always=True, go_type="types.TLSVersion", snaked=False),
                                    Field("MinVersion", always=True, go_type="types.TLSVersion", snaked=False),
                                    Field(
                                        "CipherSuites",
                                        _TEXTS,
                                        always=True,
                                        go_type="types.TLSCipherSuite",
                                        snaked=False,
                                    ),
                                )
                            ),
                            always=True,
                        ),
                        Field("Default", _POLICY, since="1.17"),
                        Field("Override", _POLICY, since="1.17"),
                    )
                )
            ),
            always=True,
        ),
        Field("Status", STATUS, always=True),
        *ENTRY_TAIL,
    )
)
_RESOURCES: Final = ListOf(_RESOURCE)
BOUND_API_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field(
            "Listeners",
            ListOf(
                Struct(
                    (
                        Field("Name", always=True),
                        Field("Routes", _RESOURCES, always=True),
                        Field("Certificates", _RESOURCES, always=True),
                    )
                )
            ),
            always=True,
        ),
        Field("Services", MapOf(_RESOURCES), always=True),
        Field("CreateIndex", "uint64", always=True),
        Field("ModifyIndex", "uint64", always=True),
    )
)
_TEXT_MAP: Final = MapOf("string")
_HEADERS: Final = ListOf(
    Struct(
        (
            Field("Add", _TEXT_MAP, always=True),
            Field("Remove", _TEXTS, always=True),
            Field("Set", _TEXT_MAP, always=True),
        )
    )
)
_RETRIES: Final = Struct(
    (
        Field("NumRetries", "uint32", always=True, snaked=False),
        Field("RetryOn", _TEXTS, always=True, snaked=False),
        Field("RetryOnStatusCodes", ListOf("uint32"), always=True, snaked=False),
        Field("RetryOnConnectFailure", "bool", always=True, snaked=False),
    )
)
_TIMEOUTS: Final = Struct(
    (
        Field("RequestTimeout", "nanoseconds", always=True, snaked=False),
        Field("IdleTimeout", "nanoseconds", always=True, snaked=False),
    )
)
_FILTERS: Final = Struct(
    (
        Field("Headers", _HEADERS, always=True),
        Field("URLRewrite", Struct((Field("Path", always=True),)), always=True, nullable=True, snaked=False),
        Field("RetryFilter", _RETRIES, always=True, nullable=True, since="1.20", snaked=False),
        Field("TimeoutFilter", _TIMEOUTS, always=True, nullable=True, since="1.20", snaked=False),
        Field("JWT", Struct(()), always=True, nullable=True, since="1.20"),
    )
)
_RESPONSE_FILTERS: Final = Field(
    "ResponseFilters", Struct((Field("Headers", _HEADERS, always=True),)), always=True, since="1.20", snaked=False
)


def _tests(what: str) -> ListOf:
    kind = Field("Match", always=True, go_type=f"structs.HTTP{what}MatchType")
    return ListOf(Struct((kind, Field("Name", always=True), Field("Value", always=True))))


_ROUTE_MATCH: Final = Struct(
    (
        Field("Headers", _tests("Header"), always=True),
        Field("Method", always=True, go_type="structs.HTTPMatchMethod"),
        Field(
            "Path",
            Struct((Field("Match", always=True, go_type="structs.HTTPPathMatchType"), Field("Value", always=True))),
            always=True,
        ),
        Field("Query", _tests("Query"), always=True),
    )
)
HTTP_ROUTE: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Parents", ListOf(_RESOURCE), always=True),
        Field(
            "Rules",
            ListOf(
                Struct(
                    (
                        Field("Filters", _FILTERS, always=True),
                        _RESPONSE_FILTERS,
                        Field("Matches", ListOf(_ROUTE_MATCH), always=True),
                        Field(
                            "Services",
                            ListOf(
                                Struct(
                                    (
                                        Field("Name", always=True),
                                        Field("Weight", "int", always=True),
                                        Field("Filters", _FILTERS, always=True),
                                        _RESPONSE_FILTERS,
                                    )
                                )
                            ),
                            always=True,
                        ),
                    )
                )
            ),
            always=True,
        ),
        Field("Hostnames", _TEXTS, always=True),
        Field("Status", STATUS, always=True),
        *ENTRY_TAIL,
    )
)
TCP_ROUTE: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Parents", ListOf(_RESOURCE), always=True),
        Field("Services", ListOf(Struct((Field("Name", always=True),))), always=True),
        Field("Status", STATUS, always=True),
        *ENTRY_TAIL,
    )
)
