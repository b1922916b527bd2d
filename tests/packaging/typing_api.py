"""
What users write, for type checkers alone: mypy --strict and pyright read it, and nothing runs it.

Each `assert_type` is a promise about what an editor shows. A line that must not check says so with an ignore for that
very error; both checkers report an ignore that is not needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, assert_never, assert_type

import aiohttp

from aioconsulconnect import (
    AccessChange,
    Added,
    Authorizer,
    AuthorizerStatus,
    Batch,
    CAConfig,
    CAConfiguration,
    Change,
    Changed,
    Consul,
    HTTPPermission,
    HTTPRequest,
    Intention,
    Meta,
    Options,
    Permission,
    ProviderConfig,
    Query,
    Removed,
    Reply,
    Root,
    Roots,
    Unsupported,
    Verdict,
    VerdictReason,
    Watch,
    all_ready,
)

Intentions = tuple[Intention, ...]


async def reads() -> None:
    async with Consul() as consul:
        assert_type(consul, Consul)
        query = consul.intentions.match(destination="db")
        assert_type(query, Query[Intentions, Intention])
        assert_type(await query, Intentions)
        assert_type(await query.value(), Intentions)
        assert_type(await query.reply(), Reply[Intentions])
        reply = await consul.intentions.list(filter='SourceName == "web"').reply()
        assert_type(reply.value, Intentions)
        assert_type(reply.meta, Meta)
        assert_type(reply.meta.index, int | None)
        many = await consul.intentions.match_many(destinations=["db", "api"])
        assert_type(many, Mapping[str, Intentions])
        assert_type(await consul.intentions.check("web", "db"), bool)
        assert_type(await consul.intentions.read("web", "db"), Intention)
        one, other = await asyncio.gather(
            consul.intentions.match(source="web").value(), consul.intentions.check("web", "db")
        )
        assert_type(one, Intentions)
        assert_type(other, bool)
        task = asyncio.create_task(consul.ca.roots().value())
        assert_type(await task, Roots)


async def intentions(consul: Consul) -> None:
    rule = Permission(action="allow", http=HTTPPermission(path_prefix="/", methods=("GET",)))
    assert_type(rule.http, HTTPPermission | None)
    await consul.intentions.upsert("web", "db", action="allow", description="d")
    await consul.intentions.upsert("web", "db", permissions=[rule], options=Options(timeout=3))
    await consul.intentions.delete("web", "db")
    assert_type(await consul.intentions.create("web", "db", action="deny", meta={"k": "v"}), str)
    known = await consul.intentions.read_by_id("17e58b74-7385-177d-294b-3eded8a6c468")
    assert_type(known.action, Literal["allow", "deny"] | None)
    for permission in known.permissions:
        assert_type(permission, Permission)


async def authority(consul: Consul) -> None:
    roots = await consul.ca.roots()
    assert_type(roots, Roots)
    assert_type(roots.roots, tuple[Root, ...])
    assert_type(roots.active, Root | None)
    assert_type(roots.roots[0].intermediate_certs, tuple[str, ...])
    assert_type(await consul.ca.roots_pem(), str)
    configuration = await consul.ca.configuration()
    assert_type(configuration, CAConfiguration)
    assert_type(configuration.consul, CAConfig | None)
    assert_type(configuration.config, ProviderConfig)
    assert_type(configuration.config["LeafCertTTL"], object)
    await consul.ca.update_configuration({**configuration.config, "LeafCertTTL": "48h"}, provider="consul")
    await consul.ca.update_configuration(CAConfig(leaf_cert_ttl="48h"), force_without_cross_signing=True)


async def watching(consul: Consul) -> None:
    async with consul.intentions.match(destination="db").watch(ignore=("modify_index",)) as watch:
        assert_type(watch, Watch[Intentions, Intention])
        assert_type(watch.current, Intentions)
        async for snapshot in watch.snapshots():
            assert_type(snapshot, Intentions)
        async for batch in watch.changes():
            assert_type(batch, Batch[Intention])
            assert_type(batch.index, int | None)
            for change in batch:
                assert_type(change, Added[Intention] | Changed[Intention] | Removed[Intention])
                told(change)
        assert_type(await watch.until(lambda known: len(known) > 3, timeout=5), Intentions)
        await watch.ready(timeout=5)
    async with consul.ca.roots().watch() as authorities:
        async for news in authorities.changes():
            assert_type(news, Batch[Root])


def told(change: Change[Intention]) -> str:
    match change:
        case Added(new):
            return assert_type(new, Intention).source_name
        case Changed(old, new):
            return f"{assert_type(old, Intention).action} {new.action}"
        case Removed(old):
            return old.source_name
        case _:
            assert_never(change)


async def token() -> str:
    return "later"


async def clients() -> None:
    async with aiohttp.ClientSession() as session:
        Consul(["a:1", "b:2"], token="t", session=session)
    Consul("https://consul:8501", token=token, verify=True, ca_cert="ca.pem", options=Options(consistency="stale"))
    consul = Consul(token=lambda: "now")
    assert_type(consul.with_options(Options(datacenter="dc2", cached=True)), Consul)
    try:
        await consul.intentions.list()
    except Unsupported as error:
        assert_type(error.min_version, str)
        assert_type(error.status, int | None)
    finally:
        await consul.aclose()


async def mistakes(consul: Consul) -> None:
    """What the types refuse."""
    await consul.intentions.upsert("web", "db", action="ALLOW")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await consul.intentions.match("db")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    consul.intentions.check("web", "db").watch()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Options(consistency="eventual")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    known = await consul.intentions.read("web", "db")
    known.action = "deny"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def decisions() -> None:
    async with Consul() as consul, consul.authorizer("db", max_age=15.0) as authorizer:
        assert_type(authorizer, Authorizer)
        assert_type(authorizer.check("web"), Verdict)
        assert_type(authorizer.check("web", request=HTTPRequest("GET", "/")).reason, VerdictReason)
        assert_type(authorizer.status, AuthorizerStatus)
        async for changes in authorizer.changes():
            assert_type(changes, tuple[AccessChange, ...])


async def watches_of_several_types_are_waited_for(consul: Consul) -> None:
    async with consul.intentions.list().watch() as intentions, consul.ca.roots().watch() as roots:
        await all_ready(intentions, roots, timeout=5)
