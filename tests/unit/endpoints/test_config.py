"""What config asks of Consul, to the byte, and what it makes of odd answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.canned import CannedSender

from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.errors import (
    Conflict,
    ErrorReason,
    InvalidRequest,
    OutcomeUnknown,
    ServerError,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.structs.config_entries.defaults import Mesh, ServiceDefaults
from aioconsulconnect.structs.config_entries.kinds import UnknownEntry
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool

MISSING = (404, b'Config entry not found for "mesh" / "mesh"')
SELF_1_10 = b'{"Config": {"Version": "1.10.12", "Datacenter": "dc1"}}'
SELF_1_16 = b'{"Config": {"Version": "1.16.6+ent", "Datacenter": "dc1"}}'


@pytest.fixture
async def config(sender: CannedSender, polls: PollerPool) -> Config:
    return Config(sender, polls, NO_OPTIONS)


async def test_config_reads(sender: CannedSender, config: Config) -> None:
    sender.answers = [
        b'{"Kind": "mesh"}', MISSING, b'[{"Kind": "mesh"}, {"Kind": "odd", "Name": "o"}]', b'[{"Kind": "mesh"}]',
    ]  # fmt: skip
    assert await config.read("mesh") == Mesh()
    assert await config.read("mesh") is None
    assert [entry.kind for entry in await config.list()] == ["mesh", "odd"]
    await config.list("mesh", options=Options(consistency="consistent"))
    assert [path for _, path, _ in sender.wire] == [
        "/v1/config/mesh/mesh", "/v1/config/mesh/mesh", "/v1/config/", "/v1/config/mesh?consistent",
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="cached"):
        config.list("mesh", options=Options(cached=True))


async def test_an_entry_of_another_kind_is_no_answer(sender: CannedSender, config: Config) -> None:
    sender.answers = [b'{"Kind": "mesh"}', b'[{"Kind": "mesh"}]']
    with pytest.raises(UnreadableResponse, match="kind mesh"):
        await config.read("proxy-defaults")
    with pytest.raises(UnreadableResponse, match="kind mesh"):
        await config.list("service-defaults")


async def test_config_writes(sender: CannedSender, config: Config) -> None:
    entry = ServiceDefaults(name="web", protocol="http", modify_index=7, create_index=3, hash=2**63)
    sender.answers = [b"true", b"true\n", b"false", b"false"]
    await config.write(entry)
    await config.write(entry, cas=7, options=Options(partition="ap1"))
    with pytest.raises(Conflict):
        await config.write(entry, cas=0)
    with pytest.raises(ServerError):
        await config.write(entry)
    body = b'{"Kind":"service-defaults","Name":"web","Protocol":"http"}'
    assert [(method, path) for method, path, _ in sender.wire] == [
        ("PUT", "/v1/config"),
        ("PUT", "/v1/config?cas=7&partition=ap1"),
        ("PUT", "/v1/config?cas=0"),
        ("PUT", "/v1/config"),
    ]
    assert all(json.loads(sent or b"") == json.loads(body) for _, _, sent in sender.wire)
    with pytest.raises(InvalidRequest, match="datacenter"):
        await config.write(entry, options=Options(datacenter="dc2"))


async def test_argument_of_another_type_is_refused_by_its_name(sender: CannedSender, config: Config) -> None:
    odd: Any = ["mesh"]
    with pytest.raises(InvalidRequest, match="kind takes text"):
        config.read(odd)
    with pytest.raises(InvalidRequest, match="kind takes text"):
        await config.delete(odd)
    with pytest.raises(InvalidRequest, match="cas takes"):
        await config.write(Mesh(), cas=True)
    with pytest.raises(InvalidRequest, match="content takes a mapping"):
        UnknownEntry(content=odd)
    assert not sender.asked


async def test_a_checked_deletion_asks_for_the_version_first(sender: CannedSender, config: Config) -> None:
    sender.answers = [SELF_1_16, b"true", SELF_1_16, b"false", SELF_1_10]
    await config.delete("mesh", cas=5)
    with pytest.raises(Conflict):
        await config.delete("mesh", cas=5)
    with pytest.raises(Unsupported, match=r"1\.11, and the agent is 1\.10\.12"):
        await config.delete("mesh", cas=5)
    asked = [path for _, path, _ in sender.wire]
    deletion = ["/v1/agent/self", "/v1/config/mesh/mesh?cas=5"]
    assert asked == [*deletion, *deletion, "/v1/agent/self"]


async def test_an_old_server_behind_a_new_agent_does_not_go_unnoticed(sender: CannedSender, config: Config) -> None:
    sender.answers = [SELF_1_16, b"{}", b"{}", b"[]"]
    with pytest.raises(Unsupported, match="ignored cas, and deleted"):
        await config.delete("mesh", cas=5)
    await config.delete("mesh")
    with pytest.raises(OutcomeUnknown):
        await config.delete("mesh")


async def test_false_means_what_the_write_asked_for(sender: CannedSender, config: Config) -> None:
    entry = ServiceDefaults(name="db", protocol="http")
    sender.answers = [b"false", b"false", b"false", SELF_1_16, b"false", b"false"]
    with pytest.raises(Conflict, match="changed or deleted since it had the modify_index 7") as caught:
        await config.write(entry, cas=7)
    assert caught.value.reason is ErrorReason.CHANGED_MEANWHILE
    with pytest.raises(Conflict, match="exists already") as caught:
        await config.write(entry, cas=0)
    assert caught.value.reason is ErrorReason.ALREADY_EXISTS
    with pytest.raises(ServerError, match="nothing was written"):
        await config.write(entry)
    with pytest.raises(Conflict, match="was changed since it had the modify_index 5"):
        await config.delete("mesh", cas=5)
    with pytest.raises(ServerError, match="nothing was written") as refused:
        await config.delete("mesh")
    assert (refused.value.status, refused.value.method) == (200, "DELETE")


async def test_a_kind_that_the_server_does_not_know(sender: CannedSender, config: Config) -> None:
    sender.answers = [(500, b"invalid config entry kind: mesh"), (404, b""), (404, b"")]
    with pytest.raises(Unsupported, match=r"needs Consul 1\.10") as caught:
        await config.read("mesh")
    assert caught.value.min_version == "1.10"
    with pytest.raises(Unsupported, match=r"needs Consul 1\.16"):
        await config.list("jwt-provider")
    with pytest.raises(UnreadableResponse):  # every Consul knows the path: this one answers for somebody else
        await config.list("service-defaults")
