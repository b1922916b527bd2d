"""Operations of each Consul version: the table is whole, and a version that is not told is inferred from answers."""

from __future__ import annotations

import inspect

import msgspec
import pytest
from support.canned import Canned, CannedSender
from support.package import FOLDER
from support.versions import VERSIONS

from aioconsulconnect import structs
from aioconsulconnect.client import Consul
from aioconsulconnect.compatibility import FIELD_SINCE, KIND_SINCE, OPERATIONS, RIGHTS, Capabilities, table, version_of
from aioconsulconnect.endpoints.capabilities import Prober
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import ConnectionFailed, InvalidRequest, Unsupported
from aioconsulconnect.testing import Agent, Version
from aioconsulconnect.testing.versioned_fields import versioned_fields
from aioconsulconnect.testing.versions import OLDEST
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool

UNKNOWN_PATH = (404, b"Invalid URL path: not a recognized HTTP API endpoint\n")
NO_RIGHTS = b"Permission denied: token with AccessorID 'x' lacks permission 'agent:read' on \"vm\""
ANONYMOUS = b"Permission denied: anonymous token lacks permission 'agent:read' on \"vm\"."
OTHER_NAMES = {"config.require_checked_delete"}  # a part of the deletion


def test_every_operation_of_the_client_is_in_the_table() -> None:
    client = Consul("127.0.0.1:1")
    found: set[str] = set()
    for name, group in inspect.getmembers(client):
        if name.startswith("_") or not isinstance(group, Group) or isinstance(group, Prober):
            continue
        methods = [m for m, _ in inspect.getmembers(group, inspect.ismethod) if not m.startswith("_")]
        found |= {f"{name}.{method}" for method in methods} or {name}
    assert found - OTHER_NAMES == set(OPERATIONS) - {"config.delete with cas"}


def test_the_table_is_markdown() -> None:
    lines = table().splitlines()
    assert lines[0] == "| operation | request | Consul | rights |"
    needed = "`intentions:write` on the destination"
    assert f"| `intentions.upsert` | `PUT /v1/connect/intentions/exact` | 1.9 | {needed} |" in lines
    assert list(RIGHTS) == list(OPERATIONS)
    assert len(lines) == len(OPERATIONS) + 2


def test_every_version_in_the_tables_is_one() -> None:
    for since in [*FIELD_SINCE.values(), *KIND_SINCE.values(), *(since for _, since in OPERATIONS.values())]:
        assert since in {"", "Enterprise"} or version_of(since) >= (1, 8)


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.16.6", (1, 16, 6)), ("1.22.0-dev", (1, 22, 0)), ("1.16.6+ent", (1, 16, 6)), ("1.9", (1, 9))],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


def test_capabilities_of_a_known_version_refuse_newer_operations() -> None:
    found = Capabilities(address="http://a:1", version="1.10.12", at_least="1.10.12")
    assert found.knows("1.9")
    assert found.knows("1.10.12")
    assert not found.knows("1.11")
    assert found.serves("intentions.read")
    assert not found.serves("config.delete with cas")
    with pytest.raises(InvalidRequest):
        found.serves("intentions.nope")
    with pytest.raises(InvalidRequest):
        version_of("new")
    found.require("intentions.read")
    with pytest.raises(Unsupported, match=r"needs Consul 1\.11, and the agent is 1\.10\.12") as caught:
        found.require("config.delete with cas")
    assert (caught.value.min_version, caught.value.address) == ("1.11", "http://a:1")


async def test_the_agent_is_asked_once(sender: CannedSender, polls: PollerPool) -> None:
    sender.answers = [b'{"Config": {"Version": "1.16.6"}}', b'{"Config": {"Version": "1.20.0"}}']
    ask = Prober(sender, polls, Options(token="t", datacenter="dc9"))
    first = await ask()
    assert first == Capabilities(address="http://canned:1", version="1.16.6", at_least="1.16.6")
    assert await ask() is first
    assert (await ask(refresh=True)).version == "1.20.0"
    assert [path for _, path, _ in sender.wire] == ["/v1/agent/self"] * 2
    assert sender.asked[0].options == Options(token="t")


ROOTS = b'{"Roots": []}'


@pytest.mark.parametrize(
    ("answers", "at_least"),
    [
        # What 1.8 to 1.10, 1.12, 1.16 and 1.22 say to a token without rights; headers are tried below.
        ([(403, b"Permission denied"), (404, b""), (404, b""), ROOTS], "1.8"),
        ([(403, NO_RIGHTS), UNKNOWN_PATH, UNKNOWN_PATH, ROOTS], "1.12"),
        ([(403, b"Permission denied"), UNKNOWN_PATH, UNKNOWN_PATH, ROOTS], "1.11"),
        ([(403, ANONYMOUS), UNKNOWN_PATH, UNKNOWN_PATH, ROOTS], "1.16"),
        ([(403, ANONYMOUS), UNKNOWN_PATH, b"[]", ROOTS], "1.17.3"),
        ([(403, ANONYMOUS), UNKNOWN_PATH, (403, ANONYMOUS), (500, b"Connect must be enabled in order")], "1.17.3"),
    ],
)
async def test_prober_without_a_version_infers_the_lowest_one_from_answers(
    sender: CannedSender, polls: PollerPool, answers: list[Canned], at_least: str
) -> None:
    sender.answers = list(answers)
    found = await Prober(sender, polls, NO_OPTIONS)()
    assert (found.version, found.at_least) == (None, at_least)
    assert found.serves("config.delete with cas") == (version_of(at_least) >= (1, 11))
    with pytest.raises(Unsupported, match="of an unknown version, at least"):
        Capabilities(address="", version=None, at_least="1.8").require("intentions.read")


FOUND_OUT = {"1.8": "1.8", "1.10": "1.10.1", "1.16": "1.16"}
"""As what an agent is found out by its answers; those that are not here, as 1.17.3."""


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_agent_with_acls_is_found_out(version: Version) -> None:
    at_least = FOUND_OUT.get(version, "1.17.3")
    async with Agent(version=version, acl=True) as box, Consul(box.url) as consul:
        found = await consul.capabilities()
        assert (found.address, found.version, found.at_least) == (box.url, None, at_least)
        known = await consul.with_options(Options(token=box.management_token)).capabilities()
        assert known.version is not None
        assert known.version.startswith(f"{version}.")


async def test_an_agent_that_cannot_be_reached_is_no_old_one(sender: CannedSender, polls: PollerPool) -> None:
    sender.answers = [(403, b"Permission denied"), ConnectionFailed("gone")]
    with pytest.raises(ConnectionFailed):
        await Prober(sender, polls, NO_OPTIONS)()


def test_the_page_of_endpoints_has_this_table() -> None:
    page = (FOLDER / "endpoints" / "README.md").read_text("utf-8")
    assert table().strip() in page


def test_key_that_a_version_of_the_agent_does_not_know_has_its_version_here() -> None:
    old_elsewhere = {
        "Config", "Datacenter", "Default", "Defaults", "HTTP", "Interval", "LocalBindPort", "MaxConcurrentRequests",
        "MaxConnections", "MaxPendingRequests", "PeerName", "Policy", "Port", "Protocol", "TLS", "Timeout",
    }  # fmt: skip
    read_only = {"ExposedPort", "ParsedFromCheck", "ServiceLocality", "ServiceSocketPath"}  # never sent
    kinds = [kind for name in dir(structs) if isinstance(kind := getattr(structs, name), type)]
    kinds = [kind for kind in kinds if issubclass(kind, msgspec.Struct)]
    sent = {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}
    known_since = {field.name for field in versioned_fields() if field.since != OLDEST}
    assert len(known_since) > 80
    assert (known_since & sent) - old_elsewhere - read_only - set(FIELD_SINCE) == set()


def test_version_of_a_key_is_the_same_here_and_in_the_agent() -> None:
    """Where the agent to test with knows a key in one place alone, both tables say the same."""
    since: dict[str, set[str]] = {}
    for field in versioned_fields():
        since.setdefault(field.name, set()).add(field.since)
    alone = {name: next(iter(found)) for name, found in since.items() if len(found) == 1}
    differing = {
        name: (alone[name], known.partition(" ")[0])
        for name, known in FIELD_SINCE.items()
        if name in alone and alone[name] != known.partition(" ")[0]
    }
    assert differing == {}
