"""What the reference says of intentions by uuid beside those by name: statuses and exact texts, by version."""

import pytest
from support.reference_facts import (
    ALLOW,
    EXACT,
    INTENTIONS,
    LEGACY,
    LEGACY_META,
    WEB_DB,
    Fact,
    cases,
    check,
    listed,
    permission,
    put,
)

from aioconsulconnect.testing import Version

FACTS: dict[str, Fact] = {
    # The old way beside the new one.
    "both ways for one destination": Fact(
        "1.10",
        "1.22",
        [WEB_DB],
        LEGACY,
        500,
        'cannot use legacy intention API to edit intentions with a destination of "db" '
        "after editing them via a service-intentions config entry",
    ),
    "Meta of an old one blocks others": Fact(
        "1.10",
        "1.22",
        [LEGACY_META],
        put("source=web&destination=db", ALLOW),
        500,
        "Sources[0].LegacyMeta must be omitted",
    ),
    "an old one without Meta loses its id": Fact(
        "1.10", "1.22", [LEGACY, WEB_DB], ("GET", f"{EXACT}?source=old&destination=db", None), 200
    ),
    "POST without a destination": Fact(
        "1.16", "1.22", [], ("POST", INTENTIONS, {"SourceName": "a", "Action": "allow"}), 403, "Permission denied"
    ),
    "POST without a destination, before": Fact(
        "1.10",
        "1.10",
        [],
        ("POST", INTENTIONS, {"SourceName": "a", "Action": "allow"}),
        500,
        listed("DestinationName must be set"),
    ),
    "POST with permissions": Fact(
        "1.10",
        "1.22",
        [],
        (
            "POST",
            INTENTIONS,
            {"SourceName": "a", "DestinationName": "b", "Action": "allow", **permission(PathExact="/")},
        ),
        500,
        listed("Permissions must not be set when using the legacy APIs"),
    ),
    "POST with an id": Fact(
        "1.8",
        "1.22",
        [],
        ("POST", INTENTIONS, {"ID": "x", "SourceName": "a", "DestinationName": "b", "Action": "allow"}),
        500,
        "ID must be empty when creating a new intention",
    ),
    "POST with a partition": Fact(
        "1.16",
        "1.22",
        [],
        ("POST", INTENTIONS, {"SourcePartition": "x", "SourceName": "a", "DestinationName": "b", "Action": "allow"}),
        400,
        "Cannot specify a source partition with this endpoint",
    ),
    "no uuid": Fact("1.10", "1.22", [], ("GET", f"{INTENTIONS}/", None), 404, "Intention not found"),
    "PUT to no uuid": Fact(
        "1.10",
        "1.22",
        [],
        ("PUT", f"{INTENTIONS}/nope", ALLOW),
        500,
        "Intention lookup failed: failed config entry lookup: index error: UUID must be 36 characters",
    ),
}


@pytest.mark.parametrize(("name", "version"), cases(FACTS))
async def test_the_agent_keeps_to_the_reference(name: str, version: Version) -> None:
    await check(FACTS[name], version)
