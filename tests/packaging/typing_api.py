"""
What users write, for type checkers alone: mypy --strict and pyright read it, and nothing runs it.

Each `assert_type` is a promise about what an editor shows. A line that must not check says so with an ignore for that
very error; both checkers report an ignore that is not needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, assert_never, assert_type

import aiohttp
import msgspec

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


def made(purpose: str, **ours: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**ours))


async def clients() -> None:
    with_proxy = Consul(["a:1", "b:2"], token="t", proxy="http://proxy:3128", headers={"x-gateway": "key"})
    Consul(resolver=aiohttp.ThreadedResolver(), session_factory=made)
    await with_proxy.aclose()
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


class Pair(msgspec.Struct, rename="pascal"):
    key: str
    value: bytes | None = None


class Folder(msgspec.Struct):
    name: str


Pairs = tuple[Pair, ...]
EITHER: msgspec.json.Decoder[Pair | Folder] = msgspec.json.Decoder(Pair | Folder)


def pairs_of(body: bytes) -> Pairs:
    return msgspec.json.decode(body, type=Pairs)


def key_of(pair: Pair) -> str:
    return pair.key


async def any_path_in_any_type(consul: Consul) -> None:
    path, services = "/v1/kv/app/", dict[str, list[str]]
    assert_type(consul.query(path, tuple[Pair, ...], key=lambda pair: pair.key), Query[Pairs, Pair])
    assert_type(consul.query(path, tuple[Pair, ...], key=key_of, absent=()), Query[Pairs, Pair])
    assert_type(consul.query(path, pairs_of, key=key_of, absent=()), Query[Pairs, Pair])
    assert_type(consul.query(path, list[Pair], key=key_of, absent=[]), Query[list[Pair], Pair])
    assert_type(consul.query(path, list[str], key=str, parameters={"keys": ""}), Query[list[str], str])
    assert_type(
        consul.query("/v1/catalog/services", dict[str, list[str]], key=lambda pair: pair[0]),
        Query[dict[str, list[str]], tuple[str, list[str]]],
    )
    assert_type(
        consul.query("/v1/catalog/services", services, parameters={"node-meta": ["a:b", "c:d"]}),
        Query[dict[str, list[str]], dict[str, list[str]]],
    )
    assert_type(consul.query(path, Pair), Query[Pair, Pair])
    assert_type(consul.query(path, Pair, absent=None), Query[Pair | None, Pair])
    assert_type(consul.query(path, bytes, parameters={"raw": ""}, absent=None), Query[bytes | None, bytes])
    assert_type(consul.query(path, bytes.decode), Query[str, str])
    assert_type(consul.query(path, object), Query[object, object])
    assert_type(consul.query(path, EITHER.decode), Query[Pair | Folder, Pair | Folder])
    assert_type(await consul.query("/v1/status/leader", str), str)
    assert_type(await consul.query(path, tuple[Pair, ...], key=key_of).reply(), Reply[Pairs])
    async with consul.query(path, tuple[Pair, ...], key=key_of, absent=()).watch(ignore=("value",)) as watch:
        assert_type(watch.current, Pairs)
        async for batch in watch.changes():
            assert_type(batch, Batch[Pair])
    consul.query(path, Pair, key=key_of)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    consul.query(path, tuple[Pair, ...], key=key_of, absent=None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def requests(consul: Consul) -> None:
    assert_type(await consul.request("PUT", "/v1/kv/a", body=b"1"), bytes)
    assert_type(await consul.request("PUT", "/v1/kv/a", body=b"1", type=bool, parameters={"cas": 0}), bool)
    assert_type(await consul.request("GET", "/v1/kv/a", type=tuple[Pair, ...]), Pairs)
    assert_type(await consul.request("POST", "/v1/x", body={"a": None}, type=EITHER.decode), Pair | Folder)
    await consul.request("put", "/v1/kv/a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await consul.ready(timeout=5)
    await consul.ready(timeout=None)
