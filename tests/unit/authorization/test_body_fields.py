"""Unknown fields: found at every level of a list or a match, in slices."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from support.authorization import allow, intent, token

from aioconsulconnect.authorization.body_fields import unknown_fields, unknown_fields_in_slices
from aioconsulconnect.errors import UnreadableResponse
from aioconsulconnect.structs.intentions import HeaderPermission, IntentionKey

KEY = IntentionKey("", "", "", "default", "web", "", "default", "db")
FULL = json.loads(
    msgspec.json.encode(
        intent(
            "web",
            "db",
            (allow(HeaderPermission(name="a", exact="b", ignore_case=True), path_exact="/a", jwt=token(role="x")),),
            jwt=token(role="x"),
            meta={"anything": "goes"},
        )
    )
)
FULL |= {"SourceNS": "default", "DestinationNS": "default", "Hash": "x", "Precedence": 9, "CreateIndex": 1}


def found(value: Any) -> dict[IntentionKey, tuple[str, ...]]:
    return unknown_fields(json.dumps(value).encode())


def changed(*path: str | int) -> Any:
    value = json.loads(json.dumps(FULL))
    inner = value
    for step in path:
        inner = inner[step]
    inner["Weekdays"] = ["Sunday"]
    return value


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((), "Weekdays"),
        (("Permissions", 0), "Permissions.Weekdays"),
        (("Permissions", 0, "HTTP"), "Permissions.HTTP.Weekdays"),
        (("Permissions", 0, "HTTP", "Header", 0), "Permissions.HTTP.Header.Weekdays"),
        (("Permissions", 0, "JWT"), "Permissions.JWT.Weekdays"),
        (("JWT", "Providers", 0), "JWT.Providers.Weekdays"),
        (("JWT", "Providers", 0, "VerifyClaims", 0), "JWT.Providers.VerifyClaims.Weekdays"),
    ],
)
def test_unknown_field_is_found_at_every_level(path: tuple[str | int, ...], name: str) -> None:
    assert found([FULL, changed(*path)]) == {KEY: (name,)}
    assert found({"db": [changed(*path)], "other": None}) == {KEY: (name,)}


def test_known_fields_are_not_found() -> None:
    assert found([FULL]) == found({"db": [FULL], "x": None}) == found([]) == found({}) == {}
    assert found([FULL | {"DefaultAddr": "", "DefaultPort": 0, "Permissions": None, "JWT": {}}]) == {}


def test_large_body_is_looked_through_in_slices() -> None:
    slices = unknown_fields_in_slices(json.dumps([FULL] * 1600).encode())
    assert sum(1 for _ in slices) == 4


@pytest.mark.parametrize("body", [b"", b"5", b"[5]", b'{"db": 5}', b"[{", b"\xff", b'[{"SourceName": 5, "New": 1}]'])
def test_body_that_is_no_list_raises_unreadable_response(body: bytes) -> None:
    with pytest.raises(UnreadableResponse):
        list(unknown_fields_in_slices(body))
