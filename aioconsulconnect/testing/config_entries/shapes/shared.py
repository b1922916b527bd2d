"""The members that several kinds of entries share, and the versions that have them."""

from typing import Final

from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct

META: Final = MapOf("string")

ENTRY_HEAD: Final = (Field("Kind", always=True), Field("Name", always=True))
ENTRY_TAIL: Final = (
    Field("Meta", META),
    Field("Hash", "uint64", since="1.16.4"),
    Field("CreateIndex", "uint64", always=True),
    Field("ModifyIndex", "uint64", always=True),
)
MESH_GATEWAY: Final = Struct((Field("Mode", go_type="structs.MeshGatewayMode"),), "structs.MeshGatewayConfig")
TRANSPARENT_PROXY: Final = Struct(
    (Field("OutboundListenerPort", "int"), Field("DialedDirectly", "bool")), "structs.TransparentProxyConfig"
)
EXPOSE: Final = Struct(
    (
        Field("Checks", "bool"),
        Field(
            "Paths",
            ListOf(
                Struct(
                    (
                        Field("ListenerPort", "int"),
                        Field("Path"),
                        Field("LocalPathPort", "int"),
                        Field("Protocol"),
                        Field("ParsedFromCheck", "bool", always=True, until="1.8"),
                        Field("ParsedFromCheck", "bool", since="1.10"),
                    )
                )
            ),
        ),
    )
)
PASSIVE_HEALTH_CHECK: Final = Struct(
    (
        Field("Interval", "nanoseconds"),
        Field("MaxFailures", "uint32"),
        Field(
            "EnforcingConsecutive5xx",
            "uint32",
            since="1.16",
            alias="enforcing_consecutive_5xx",
            pointer=True,
            snaked=False,
        ),
        Field("MaxEjectionPercent", "uint32", since="1.16", pointer=True),
        Field("BaseEjectionTime", "nanoseconds", since="1.16", pointer=True),
    )
)
ENVOY_EXTENSIONS: Final = ListOf(
    Struct(
        (
            Field("Name", always=True),
            Field("Required", "bool", always=True),
            Field("Arguments", MapOf("open"), always=True),
            Field("ConsulVersion", always=True, snaked=False),
            Field("EnvoyVersion", always=True, snaked=False),
        )
    )
)
