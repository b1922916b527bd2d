"""Answers that no Consul should give: whatever they leave open is denied, and nothing ends by them."""

from __future__ import annotations

from typing import Any

import pytest
from support.authorization import intent, table_of
from support.fakes import always, error, refused
from support.meshes import LIST, MATCH, MeshWorld, rule

from aioconsulconnect.authorization.rules.verdict import Reason

Json = Any


@pytest.mark.parametrize("body", [{}, {"other": []}, {"DB": [rule("web", action="deny")]}])
async def test_match_that_says_nothing_of_the_name_denies(body: Json) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web", action="deny"))
        async with world.entered("db", default="allow") as authorizer:
            world.mesh.put_at(MATCH, body)
            await world.clock.advance(5)
            assert authorizer.check("web").reason is Reason.FIELD_UNKNOWN
            assert "says nothing of 'db'" in authorizer.status.missing
            world.mesh.intentions(rule("web"))
            await world.clock.advance(60)
            assert authorizer.check("web")


@pytest.mark.parametrize(
    "item", [{}, {"Action": "deny", "DestinationName": "db"}, {"Action": "deny", "SourceName": "web"}]
)
async def test_intention_without_a_name_may_be_about_anybody(item: Json) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(item, rule("web"))
        async with world.entered("db", default="allow") as authorizer:
            assert authorizer.check("web").reason is Reason.SOURCE_KIND_UNKNOWN


@pytest.mark.parametrize("names", [("db",), ("db", "cache")])
async def test_intention_for_another_destination_denies_all(names: tuple[str, ...]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("web", "zzz", "deny"), cache=[])
        async with world.entered(*names, default="allow") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.MALFORMED
            world.mesh.intentions(rule("web"), rule("web", "*", "deny"), rule("api", "DB", "deny"), cache=[])
            await world.clock.advance(1)
            assert authorizer.check("web", "db").reason is Reason.INTENTION


@pytest.mark.parametrize("actions", [("deny", "allow"), ("allow", "deny")])
@pytest.mark.parametrize("names", [("db",), ("db", "cache"), ()])
async def test_intentions_that_contradict_each_other_deny(names: tuple[str, ...], actions: tuple[str, str]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(*(rule("web", action=action) for action in actions), cache=[])
        async with world.entered(*names, default="allow") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.MALFORMED


NEW_VALUES: dict[str, Json] = {
    "action": rule("cron", Action="audit"),
    "permission": rule("cron", Permissions=[{"Action": "log", "HTTP": {"PathPrefix": "/"}}]),
    "null name": rule("cron", SourceName=None),
    "number": rule("cron", SourceType=5),
}


@pytest.mark.parametrize("names", [("db",), ("db", "cache"), ()])
@pytest.mark.parametrize("value", NEW_VALUES)
async def test_value_that_this_version_cannot_read_denies_at_once(value: str, names: tuple[str, ...]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), cache=[])
        async with world.entered(*names, default="allow") as authorizer:
            assert authorizer.check("web", "db")
            world.mesh.intentions(rule("web", action="deny"), NEW_VALUES[value], cache=[])
            await world.clock.advance(1)
            assert authorizer.check("web", "db").reason is Reason.FIELD_UNKNOWN
            assert authorizer.status.state == "incomplete"
            world.mesh.fail(refused())  # another failure does not bring the old table back
            await world.clock.advance(60)
            assert not authorizer.check("web", "db")
            world.mesh.down = None
            world.mesh.intentions(rule("web"), cache=[])
            await world.clock.advance(90)
            assert authorizer.check("web", "db")


@pytest.mark.parametrize("names", [("db",), ("db", "cache"), ()])
async def test_intentions_that_begin_to_contradict_each_other_deny(names: tuple[str, ...]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), cache=[])
        async with world.entered(*names, default="allow") as authorizer:
            assert authorizer.check("web", "db")
            world.mesh.intentions(rule("web", action="deny"), rule("web"), cache=[])  # the last is what it was
            await world.clock.advance(1)
            assert authorizer.check("web", "db").reason is Reason.MALFORMED


async def test_refusal_before_the_first_data_heals() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        world.mesh.fault = always(error(403, "Permission denied"))
        async with world.authorizer("db", default="deny") as authorizer:
            await world.clock.advance(10)
            assert authorizer.check("web").reason is Reason.INCOMPLETE
            assert "Permission denied" in authorizer.status.missing
            world.mesh.fault = None
            await world.clock.advance(30)
            assert authorizer.check("web")
            assert authorizer.status.state == "ready"


@pytest.mark.parametrize("name", ["okta/", "..", "."])
async def test_provider_that_no_url_can_name_leaves_its_issuer_unknown(name: str) -> None:
    async with MeshWorld() as world:
        required = {"Providers": [{"Name": name}]}
        world.mesh.intentions(rule("web"), rule("api", JWT=required))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db")
            assert authorizer.check("api", "db", claims={name: {"iss": "x"}}).reason is Reason.TOKEN
            assert authorizer.status.state == "ready"


@pytest.mark.parametrize("destination", ["db", "*"])
def test_namespace_of_a_destination_is_compared_without_case(destination: str) -> None:
    table = table_of(intent("web", destination, "deny", destination_namespace="DEFAULT"), default="allow")
    assert table.check("web").reason is Reason.INTENTION


async def test_list_without_an_index_is_not_consuls() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web", action="deny"))
        async with world.entered(default="allow") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.INTENTION
            world.mesh.flags = {LIST: {"x-consul-index": ""}}
            world.mesh.put_at(LIST, [])
            await world.clock.advance(5)
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            assert "without X-Consul-Index" in authorizer.status.missing
            world.mesh.flags = {}
            world.mesh.intentions(rule("web", action="deny"))
            await world.clock.advance(61)
            assert authorizer.check("web", "db").reason is Reason.INTENTION


def test_name_that_does_not_print_forges_no_line() -> None:
    verdict = table_of(intent("web\nallowed", "db", "deny")).check("web\nallowed")
    assert str(verdict).startswith("denied by 'web\\nallowed' -> db (deny, precedence 9)")
