"""Intentions on every agent: what works, what is refused, with which words, and what Consul would have done quietly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from support.agents_under_test import AgentUnderTest, GuardedAgent

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import (
    BadRequest,
    Conflict,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServerError,
    Unsupported,
)
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.structs.intentions import (
    Action,
    HeaderPermission,
    HTTPPermission,
    Intention,
    JWTProviderRequirement,
    JWTRequirement,
    Permission,
)
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.changes import Added, Changed, Removed

ENTERPRISE = "Consul Enterprise"


@pytest.fixture(autouse=True)
async def _clean(consul: Consul, agent: AgentUnderTest, unique: str) -> AsyncIterator[None]:
    """Afterwards no intention or config entry of this test is left."""
    yield
    for known in await consul.intentions.list():
        if known.source_name.startswith(unique) or known.destination_name.lower().startswith(unique):
            if known.id:
                await consul.intentions.delete_by_id(known.id)
            elif known.source_peer:
                await consul.config.delete("service-intentions", known.destination_name)
            else:
                await consul.intentions.delete(known.source_name, known.destination_name)
    for entry in await consul.config.list("service-defaults"):
        if entry.name.startswith(unique):
            await consul.config.delete("service-defaults", entry.name)


async def put(consul: Consul, agent: AgentUnderTest, source: str, destination: str, action: Action = "allow") -> None:
    """Write an intention the way that this version recommends."""
    if agent.version < (1, 9):
        await consul.intentions.create(source, destination, action=action)
    else:
        await consul.intentions.upsert(source, destination, action=action)


def pairs(intentions: tuple[Intention, ...], unique: str) -> list[tuple[str, str, int]]:
    return [
        (known.source_name.replace(unique, ""), known.destination_name.replace(unique, ""), known.precedence)
        for known in intentions
        if unique in known.source_name + known.destination_name
    ]


# By name, the recommended way.


async def test_by_name(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    if agent.version < (1, 9):
        rule = Permission(action="allow", http=HTTPPermission(path_exact="/"))
        for call in (
            consul.intentions.read(web, db),
            consul.intentions.upsert(web, db, action="allow"),
            consul.intentions.upsert(web, db, permissions=[rule]),
            consul.intentions.delete(web, db),
        ):  # fmt: skip
            with pytest.raises(Unsupported, match=r"1\.9") as caught:
                await call
            assert caught.value.min_version == "1.9"
        assert pairs(await consul.intentions.list(), unique) == []
        return
    with pytest.raises(NotFound, match="Intention not found"):
        await consul.intentions.read(web, db)
    await consul.intentions.upsert(web, db, action="allow", description="one")
    found = await consul.intentions.read(web, db)
    assert (found.source_name, found.destination_name, found.action, found.description) == (web, db, "allow", "one")
    assert (found.id, found.created_at, found.precedence, found.source_type) == ("", None, 9, "consul")
    assert (found.source_namespace, found.destination_namespace) == ("default", "default")
    await consul.intentions.upsert(web, db, action="deny")
    assert (await consul.intentions.read(web, db)).action == "deny"
    assert (await consul.intentions.read(web, db)).description == ""
    await consul.intentions.delete(web, db)
    await consul.intentions.delete(web, db)  # twice is fine
    with pytest.raises(NotFound):
        await consul.intentions.read(web, db)


async def test_l7(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    if agent.version < (1, 9):
        return
    web, db = f"{unique}web", f"{unique}db"
    permissions = (
        Permission(action="deny", http=HTTPPermission(path_prefix="/admin", methods=("get", "PUT"))),
        Permission(
            action="allow",
            http=HTTPPermission(
                path_regex="/v[0-9]+/.*",
                header=(
                    HeaderPermission(name="x-role", exact="root", invert=True),
                    HeaderPermission(name="x-any", present=True),
                    HeaderPermission(name="x-p", prefix="<a>&"),
                ),
            ),
        ),
    )
    with pytest.raises(BadRequest, match="incompatible with L7"):
        await consul.intentions.upsert(web, db, permissions=permissions)
    await consul.config.write(ServiceDefaults(name=db, protocol="http"))
    await consul.intentions.upsert(web, db, permissions=permissions)
    found = await consul.intentions.read(web, db)
    assert found.action is None
    first, second = found.permissions
    assert first == Permission(action="deny", http=HTTPPermission(path_prefix="/admin", methods=("GET", "PUT")))
    assert second == permissions[1]
    assert await consul.intentions.check(web, db) is False
    await consul.intentions.delete(web, db)


async def test_fields_that_came_later(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    if agent.version < (1, 9):
        return
    web, db = f"{unique}web", f"{unique}db"
    await consul.config.write(ServiceDefaults(name=db, protocol="http"))
    contains = HTTPPermission(header=(HeaderPermission(name="x", contains="a", ignore_case=True),))
    write = consul.intentions.upsert(web, db, permissions=[Permission(action="allow", http=contains)])
    if agent.version < (1, 21):
        with pytest.raises(Unsupported, match=r"1\.20\.1"):
            await write
    else:
        await write
        assert (await consul.intentions.read(web, db)).permissions[0].http == contains
    jwt = JWTRequirement(providers=(JWTProviderRequirement(name=f"{unique}nobody"),))
    rule = Permission(action="allow", http=HTTPPermission(path_exact="/"), jwt=jwt)
    with pytest.raises((Unsupported, BadRequest)) as caught:
        await consul.intentions.upsert(web, db, permissions=[rule])
    if agent.version < (1, 16):
        assert getattr(caught.value, "min_version", "") == "1.16"
    else:
        assert "does not exist" in caught.value.text
    await consul.intentions.delete(web, db)


# By id, the only way on 1.8.


async def test_by_id(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    given = await consul.intentions.create(web, db, action="allow", description="d", meta={"owner": "me"})
    found = await consul.intentions.read_by_id(given)
    assert (found.id, found.source_name, found.destination_name, found.action) == (given, web, db, "allow")
    assert (found.description, found.meta) == ("d", {"owner": "me"})
    assert found.created_at is not None
    assert found.updated_at is not None
    assert found.created_at.utcoffset() is not None
    assert await consul.intentions.read_by_id(given.upper()) == found
    with pytest.raises(Conflict):
        await consul.intentions.create(web, db, action="deny")
    await consul.intentions.update_by_id(given, f"{unique}other", db, action="deny")
    again = await consul.intentions.read_by_id(given)
    assert (again.source_name, again.action, again.description, again.meta) == (f"{unique}other", "deny", "", {})
    if agent.version >= (1, 9):
        with pytest.raises(BadRequest, match="Cannot modify"):
            await consul.intentions.update_by_id(given, web, f"{unique}elsewhere", action="allow")
    await consul.intentions.delete_by_id(given)
    for call in (
        consul.intentions.read_by_id(given),
        consul.intentions.update_by_id(given, web, db, action="allow"),
        consul.intentions.delete_by_id(given),
    ):
        with pytest.raises(NotFound):
            await call


async def test_upsert_beside_intentions_made_by_id_warns_that_they_lose_their_ids(
    consul: Consul, agent: AgentUnderTest, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    if agent.version < (1, 9):
        return
    old, new, db = f"{unique}old", f"{unique}new", f"{unique}db"
    given = await consul.intentions.create(old, db, action="allow", meta={"k": "v"})
    with pytest.raises(BadRequest, match="LegacyMeta must be omitted"):
        await consul.intentions.upsert(new, db, action="allow")
    await consul.intentions.update_by_id(given, old, db, action="allow")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "aioconsulconnect.endpoints.intentions"):
        await consul.intentions.upsert(old, db, action="deny")
    assert caplog.text == ""  # nobody else loses anything
    await consul.intentions.delete(old, db)
    await consul.intentions.create(old, db, action="allow")
    with caplog.at_level(logging.WARNING, "aioconsulconnect.endpoints.intentions"):
        await consul.intentions.upsert(new, db, action="allow")
    assert old in caplog.text
    assert "lose their ids" in caplog.text
    assert [known.id for known in await consul.intentions.match(destination=db)] == ["", ""]
    with pytest.raises(BadRequest, match="cannot use legacy intention API"):
        await consul.intentions.create(f"{unique}third", db, action="allow")


# Reading.


async def test_order_filter_and_matches(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    a, b, db, web = (f"{unique}{name}" for name in ("a", "b", "db", "web"))
    for source, destination in [(b, db), ("*", db), (web, "*"), (a, db), (web, a)]:
        await put(consul, agent, source, destination)
    assert pairs(await consul.intentions.list(), unique) == [
        ("a", "db", 9),
        ("b", "db", 9),
        ("web", "a", 9),
        ("*", "db", 8),
        ("web", "*", 6),
    ]
    only = await consul.intentions.list(filter=f'SourceName == "{web}"')
    assert pairs(only, unique) == [("web", "a", 9), ("web", "*", 6)]
    assert len(only) == 2
    assert pairs(await consul.intentions.match(destination=db), unique) == [
        ("a", "db", 9),
        ("b", "db", 9),
        ("*", "db", 8),
        ("web", "*", 6),
    ]
    assert pairs(await consul.intentions.match(source=web), unique) == [
        ("web", "a", 9),
        ("*", "db", 8),
        ("web", "*", 6),
    ]
    assert pairs(await consul.intentions.match(source=f"{unique}c"), unique) == [("*", "db", 8)]
    many = await consul.intentions.match_many(destinations=[db, f"{unique}none", db, a])
    assert list(many) == [db, f"{unique}none", a]
    assert pairs(many[f"{unique}none"], unique) == [("web", "*", 6)]
    assert many[db] == await consul.intentions.match(destination=db)
    sources = await consul.intentions.match_many(sources=[web])
    assert sources[web] == await consul.intentions.match(source=web)


async def test_names_that_nobody_knows(consul: Consul, unique: str) -> None:
    assert await consul.intentions.match(destination=f"{unique}x") == ()
    assert await consul.intentions.match(source=f"{unique}x") == ()
    assert await consul.intentions.list(filter=f'SourceName == "{unique}x"') == ()
    with pytest.raises(BadRequest, match="boolean expression"):
        await consul.intentions.list(filter="Nope == x")


async def test_metadata_of_reads(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    listed = await consul.intentions.list().reply()
    assert (listed.meta.index or 0) > 0
    assert listed.meta.known_leader is True
    assert isinstance(listed.value, tuple)
    matched = await consul.intentions.match(destination=f"{unique}x").reply()
    assert (matched.meta.index is None) == (agent.version < (1, 9))
    stale = await consul.intentions.match(destination=f"{unique}x", options=Options(consistency="stale")).reply()
    assert stale.meta.consistency == (None if agent.version < (1, 9) else "stale")
    cached = consul.intentions.match(destination=f"{unique}x", options=Options(cached=True))
    await cached
    assert (await cached.reply()).meta.cache == (None if agent.version < (1, 9) else "HIT")


async def test_check(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    assert await consul.intentions.check(web, db) is True  # ACLs are off: allowed by default
    await put(consul, agent, "*", db, "deny")
    assert await consul.intentions.check(web, db) is False
    await put(consul, agent, web, db)
    assert await consul.intentions.check(web, db) is True
    assert await consul.intentions.check(f"{unique}else", db) is False
    with pytest.raises(InvalidRequest):
        await consul.intentions.check("*", db)


HOSTILE = [
    "with space", "100%", "%2e%2e", "a;b", "a&b=c", "a+b", 'a"b', "a'b", "a#b", "a?b", "<a>", "ünï", "a\\b", "a\tb",
    "a\nb", "..", ".", "exact", "peer", "日本", "a:b", "x" * 300, "\u2028",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_is_what_it_is(consul: Consul, agent: AgentUnderTest, unique: str, name: str) -> None:
    source, destination = f"{unique}{name}", f"{unique}-{name}" if name.isprintable() else unique
    await put(consul, agent, source, destination, "deny")
    (found,) = [
        known for known in await consul.intentions.match(destination=destination) if unique in known.source_name
    ]
    assert (found.source_name, found.destination_name) == (source, destination)
    assert [known.destination_name for known in await consul.intentions.match(source=source)] == [destination]
    assert await consul.intentions.check(source, destination) is False
    if agent.version >= (1, 9):
        assert await consul.intentions.read(source, destination) == found
        await consul.intentions.delete(source, destination)
        assert await consul.intentions.match(destination=destination) == ()


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a/b/c/d", "a*", "*b", "*/b", "a/b*", "\ud800"])
async def test_a_name_that_is_none(consul: Consul, unique: str, name: str) -> None:
    intentions = consul.intentions
    for call in (
        lambda: intentions.read(name, unique),
        lambda: intentions.upsert(unique, name, action="allow"),
        lambda: intentions.delete(name, unique),
        lambda: intentions.create(name, unique, action="allow"),
        lambda: intentions.check(unique, name),
    ):
        with pytest.raises(InvalidRequest):
            await call()
    for query in (
        lambda: intentions.match(source=name),
        lambda: intentions.match(destination=name),
        lambda: intentions.match_many(sources=[unique, name]),
    ):
        with pytest.raises(InvalidRequest):
            await query()
    for intention_id in (name, f"{uuid4()}/..", "exact", str(uuid4())[:-1] + "g"):
        with pytest.raises(InvalidRequest, match="UUID"):
            await intentions.read_by_id(intention_id)


# Where Consul would quietly do something else.


async def test_a_foreign_namespace_never_becomes_the_default_one(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    web, db = f"{unique}web", f"{unique}db"
    await put(consul, agent, web, db)
    for source, destination in (
        (f"ns1/{web}", db),
        (web, f"ns1/{db}"),
        (f"p1/ns1/{web}", db),
        (web, f"p1/default/{db}"),
    ):
        with pytest.raises((Unsupported, BadRequest)):
            await consul.intentions.upsert(source, destination, action="deny")
        with pytest.raises((Unsupported, BadRequest)):
            await consul.intentions.delete(source, destination)
    foreign = consul.with_options(Options(namespace="ns1"))
    with pytest.raises(Unsupported):
        await foreign.intentions.upsert(web, db, action="deny")
    with pytest.raises(Unsupported):
        await foreign.intentions.delete(web, db)
    (found,) = await consul.intentions.match(destination=db)
    assert (found.source_name, found.action) == (web, "allow")
    if agent.version >= (1, 9):
        with pytest.raises(Unsupported) as caught:
            await consul.intentions.create(f"ns1/{web}", db, action="deny")
        assert caught.value.min_version == ENTERPRISE


async def test_reads_of_a_foreign_namespace(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    listing = consul.intentions.list(options=Options(namespace="ns1"))
    if agent.version < (1, 9):
        assert await listing == await consul.intentions.list()  # this old agent does not look at the parameter here
    else:
        with pytest.raises(Unsupported) as caught:
            await listing
        assert caught.value.min_version == ENTERPRISE
    if agent.version >= (1, 9):
        with pytest.raises(Unsupported, match="Namespaces is a Consul Enterprise feature"):
            await consul.intentions.match(destination=f"ns1/{unique}")
        with pytest.raises(Unsupported, match="Namespaces is a Consul Enterprise feature"):
            await consul.intentions.check(f"ns1/{unique}", unique)
        assert await consul.intentions.match(destination=f"default/{unique}") == ()


async def test_intentions_of_peers(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    for write in (
        consul.intentions.upsert(f"peer:east/{web}", db, action="allow"),
        consul.intentions.delete(f"peer:east/{web}", db),
    ):
        with pytest.raises(InvalidRequest, match="peer"):
            await write
    if agent.version < (1, 13):
        with pytest.raises(Unsupported):
            await consul.intentions.read(f"peer:east/{web}", db)
        return
    await consul.config.write(
        ServiceIntentions(name=db, sources=(SourceIntention(name=web, peer="east", action="allow"),))
    )
    (found,) = await consul.intentions.match(destination=db)
    assert (found.source_peer, found.source_name) == ("east", web)
    assert await consul.intentions.read(f"peer:east/{web}", db) == found
    with pytest.raises(NotFound):
        await consul.intentions.read(f"peer:west/{web}", db)
    for call in (consul.intentions.upsert(web, db, action="deny"), consul.intentions.delete(web, db)):
        with pytest.raises(Conflict, match="peer"):
            await call
    assert await consul.intentions.match(destination=db) == (found,)
    await consul.intentions.upsert(f"{unique}local", db, action="deny")
    sources = {known.source_peer for known in await consul.intentions.match(source=web)}
    assert sources <= {""}
    assert await consul.intentions.check(web, db) is True  # the rule is for the peer's web alone


async def test_options_that_consul_would_ignore(consul: Consul, unique: str) -> None:
    far = Options(datacenter="mars")
    for call in (
        lambda: consul.intentions.upsert("a", unique, action="allow", options=far),
        lambda: consul.intentions.delete("a", unique, options=far),
        lambda: consul.intentions.create("a", unique, action="allow", options=Options(cached=True)),
    ):
        with pytest.raises(InvalidRequest, match="ignores"):
            await call()
    with pytest.raises(ServerError, match="No path to datacenter"):
        await consul.intentions.list(options=far)
    assert await consul.intentions.match(destination=unique, options=Options(datacenter="dc1")) == ()


# Watching.


async def test_a_watch_of_a_match_sees_each_change(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    async with asyncio.timeout(20), consul.intentions.match(destination=db).watch() as watch:
        changes = watch.changes()
        assert len(await anext(changes)) == 0
        await put(consul, agent, web, db)
        (added,) = await anext(changes)
        assert isinstance(added, Added)
        assert added.new.source_name == web
        if agent.version < (1, 9):
            await consul.intentions.update_by_id(added.new.id, web, db, action="deny")
        else:
            await put(consul, agent, web, db, "deny")
        (changed,) = await anext(changes)
        assert isinstance(changed, Changed)
        assert (changed.old.action, changed.new.action) == ("allow", "deny")
        if agent.version < (1, 9):
            await consul.intentions.delete_by_id(added.new.id)
        else:
            await consul.intentions.delete(web, db)
        (removed,) = await anext(changes)
        assert isinstance(removed, Removed)


# Rights.


async def test_rights(guarded: GuardedAgent, unique: str) -> None:
    web, db, other = (f"{unique}{name}" for name in ("web", "db", "other"))
    token = await guarded.token(f'service "{db}" {{ policy = "read" intentions = "write" }}')
    async with Consul(guarded.url, token=guarded.management) as manager, Consul(guarded.url, token=token) as consul:
        await put(manager, guarded, web, other)
        await put(consul, guarded, web, db)
        assert [known.source_name for known in await consul.intentions.match(destination=db)] == [web]
        assert await consul.intentions.check(web, db) is True
        for call in (
            lambda: put(consul, guarded, web, f"{unique}third"),
            lambda: consul.intentions.match(destination=other).value(),
            lambda: consul.intentions.match_many(destinations=[db, other]).value(),
            lambda: consul.intentions.check(web, other),
        ):
            with pytest.raises(PermissionDenied, match="Permission denied"):
                await call()
        listed = await consul.intentions.list().reply()
        assert [known.destination_name for known in listed.value] == [db]
        assert listed.meta.filtered_by_acls == (guarded.version >= (1, 11))
        stranger = consul.with_options(Options(token=str(uuid4())))
        with pytest.raises(PermissionDenied, match="ACL not found"):
            await stranger.intentions.list()
        anonymous = consul.with_options(Options(token=""))
        assert await anonymous.intentions.list() == ()
        with pytest.raises(PermissionDenied):
            await anonymous.intentions.match(destination=db)
        for known in await manager.intentions.list():
            if unique in known.destination_name:
                if known.id:
                    await manager.intentions.delete_by_id(known.id)
                else:
                    await manager.intentions.delete(known.source_name, known.destination_name)
