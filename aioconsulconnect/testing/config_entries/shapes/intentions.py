"""The members of intentions, and of the entries that hold them, and the versions that have them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes.shared import ENTRY_HEAD, ENTRY_TAIL, META
from aioconsulconnect.testing.go_json.schema import Field, ListOf, Struct

JWT: Final = Struct(
    (
        Field(
            "Providers",
            ListOf(
                Struct(
                    (
                        Field("Name"),
                        Field("VerifyClaims", ListOf(Struct((Field("Path", ListOf("string")), Field("Value"))))),
                    )
                )
            ),
        ),
    )
)
HEADER: Final = Struct(
    (
        Field("Name", always=True),
        Field("Present", "bool"),
        Field("Exact"),
        Field("Prefix"),
        Field("Suffix"),
        Field("Contains", since="1.20.1"),
        Field("Regex"),
        Field("Invert", "bool"),
        Field("IgnoreCase", "bool", since="1.20.1"),
    )
)
PERMISSION: Final = Struct(
    (
        Field("Action", always=True, go_type="structs.IntentionAction"),
        Field(
            "HTTP",
            Struct(
                (
                    Field("PathExact"),
                    Field("PathPrefix"),
                    Field("PathRegex"),
                    Field("Header", ListOf(HEADER)),
                    Field("Methods", ListOf("string")),
                )
            ),
        ),
        Field("JWT", JWT, since="1.16"),
    )
)
INTENTION: Final = Struct(
    (
        Field("CreatedAt"),
        Field("UpdatedAt"),
        Field("ID"),
        Field("Description"),
        Field("SourceNS"),
        Field("SourceName"),
        Field("DestinationNS"),
        Field("DestinationName"),
        Field("SourcePartition", since="1.11"),
        Field("DestinationPartition", since="1.11"),
        Field("SourcePeer", since="1.13"),
        Field("SourceSamenessGroup", since="1.16"),
        Field("SourceType", go_type="structs.IntentionSourceType"),
        Field("Action", go_type="structs.IntentionAction"),
        Field("Permissions", ListOf(PERMISSION), since="1.9"),
        Field("JWT", "ignored", since="1.16"),
        Field("DefaultAddr"),
        Field("DefaultPort", "int"),
        Field("Meta", META),
        Field("Precedence", "int"),
        Field("Hash"),
        Field("CreateIndex", "uint64"),
        Field("ModifyIndex", "uint64"),
    ),
    "struct { Hash string; CreatedAt string; UpdatedAt string; *structs.Alias }",
)

INTENTION_FILTER: Final = Struct(
    (
        Field("Action"),
        Field("Description"),
        Field("DestinationNS"),
        Field("DestinationName"),
        Field("DestinationPartition", since="1.11"),
        Field("ID"),
        Field("Meta", META),
        Field("Precedence", "int"),
        Field("SourceNS"),
        Field("SourceName"),
        Field("SourcePartition", since="1.11"),
        Field("SourcePeer", since="1.13"),
        Field("SourceSamenessGroup", since="1.16"),
        Field("SourceType"),
    )
)
"""The members that a filter of intentions can name."""
SOURCE: Final = Struct(
    (
        Field("Name", always=True),
        Field("Action", go_type="structs.IntentionAction"),
        Field("Permissions", ListOf(PERMISSION)),
        Field("Precedence", "int", always=True),
        Field("LegacyID"),
        Field("Type", always=True, go_type="structs.IntentionSourceType"),
        Field("Description"),
        Field("LegacyMeta", META),
        Field("LegacyCreateTime", checked=False),
        Field("LegacyUpdateTime", checked=False),
        Field("Peer", since="1.13"),
        Field("SamenessGroup", since="1.16"),
    )
)

SERVICE_INTENTIONS: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Sources", ListOf(SOURCE), always=True),
        Field("JWT", JWT, since="1.16"),
        *ENTRY_TAIL,
    )
)
