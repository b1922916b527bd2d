"""All intentions as config entries: exported, planned, applied, on every agent that has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from support.agents_under_test import AgentUnderTest, GuardedAgent

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import Conflict, ErrorReason, InvalidRequest, PermissionDenied, Unsupported
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.structs.config_entries.kinds import dump_entries, read_entries
from aioconsulconnect.structs.intentions import HTTPPermission, JWTProviderRequirement, JWTRequirement, Permission


@pytest.fixture(autouse=True)
def _has_entries(agent: AgentUnderTest) -> None:
    if agent.version < (1, 9):
        pytest.skip("service-intentions are config entries from 1.9 on")


def entry(name: str, **sources: str) -> ServiceIntentions:
    rules = [SourceIntention(name=source, action=action) for source, action in sources.items()]  # type: ignore[arg-type]
    return ServiceIntentions(name=name, sources=tuple(rules))


def one(**more: Any) -> ServiceIntentions:
    return ServiceIntentions(name="a", sources=(SourceIntention(**{"name": "web", "action": "allow", **more}),))


ROOT = HTTPPermission(path_prefix="/")
NOBODY = JWTRequirement(providers=(JWTProviderRequirement(),))


async def test_plan_after_apply_is_empty(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    await consul.intentions.upsert("web", f"{unique}-old", action="allow")
    await consul.intentions.upsert("web", f"{unique}-db", action="allow")
    await consul.intentions.upsert("api", f"{unique}-db", action="allow")
    others = [each for each in await consul.intentions.export() if not each.name.startswith(unique)]
    db = entry(f"{unique}-db", api="deny", batch="allow")
    new = entry(f"{unique}-new", web="allow")

    plan = await consul.intentions.plan([*others, db, new])
    assert [each.name for each in plan.added] == [f"{unique}-new"]
    assert [old.name for old, _ in plan.changed] == [f"{unique}-db"]
    assert [each.name for each in plan.removed] == [f"{unique}-old"]
    assert [line for line in str(plan).splitlines() if not line.startswith("! removals: ")] == [
        f"~ api => {unique}-db: allow -> deny",
        f"+ batch => {unique}-db: allow",
        f"- web => {unique}-db: allow",
        f"+ web => {unique}-new: allow",
        f"- web => {unique}-old: allow",
    ]
    assert repr(plan) == "<Plan 1 added, 1 changed, 1 removed>"
    if agent.version < (1, 11):
        with pytest.raises(Unsupported, match=r"1\.11"):
            await plan.apply()
        assert f"{unique}-new" not in {each.name for each in await consul.intentions.export()}
        await consul.config.delete("service-intentions", f"{unique}-old")
        plan = await consul.intentions.plan([*others, db, new])
    await plan.apply()
    again = await consul.intentions.plan([*others, db, new])
    assert not again
    assert str(again) == "nothing to do"
    for name in ("db", "new"):
        await consul.config.delete("service-intentions", f"{unique}-{name}")


async def test_a_plan_that_is_too_old_conflicts(consul: Consul, unique: str) -> None:
    first, second = entry(f"{unique}-a", web="allow"), entry(f"{unique}-b", web="allow")
    plan = await consul.intentions.plan([first, second], prune=False)
    await consul.intentions.upsert("api", f"{unique}-b", action="deny")
    with pytest.raises(Conflict) as caught:
        await plan.apply()
    assert caught.value.__notes__ == ["1 of 2 changes of the plan were applied before"]
    plan = await consul.intentions.plan([first, second], prune=False)
    assert not plan.added
    await plan.apply()
    assert not await consul.intentions.plan([first, second], prune=False)


async def test_plan_of_imported_entries_that_consul_rewrites_is_empty(consul: Consul, unique: str) -> None:
    await consul.config.write(ServiceDefaults(name=unique, protocol="http"))
    permissions = (Permission(action="allow", http=HTTPPermission(path_prefix="/", methods=("get", "PUT"))),)
    desired = ServiceIntentions(
        name=unique.upper(),
        sources=(
            SourceIntention(name="*", action="deny"),
            SourceIntention(name="web", permissions=permissions, description="shop"),
        ),
    )
    plan = await consul.intentions.import_([desired])
    assert str(plan).splitlines() == [
        f"+ * => {unique.upper()}: deny",
        f"+ web => {unique.upper()}: permissions allow GET|PUT path_prefix='/' (shop)",
    ]
    assert not await consul.intentions.import_([desired])
    changed = replace(desired, sources=(desired.sources[0], replace(desired.sources[1], description="till")))
    assert await consul.intentions.plan([changed], prune=False)
    await consul.config.delete("service-intentions", unique)  # its source '*' is for the tests of all others too
    await consul.config.delete("service-defaults", unique)


async def test_an_export_can_be_kept_and_imported_again(consul: Consul, unique: str) -> None:
    await consul.intentions.upsert("web", unique, action="allow", description="the shop")
    kept = dump_entries([each for each in await consul.intentions.export() if each.name == unique])
    await consul.intentions.delete("web", unique)
    assert unique not in {each.name for each in await consul.intentions.export()}
    entries = [each for each in read_entries(kept) if isinstance(each, ServiceIntentions)]
    plan = await consul.intentions.import_(entries)
    assert len(plan.added) == 1
    assert (await consul.intentions.read("web", unique)).description == "the shop"


async def test_export_of_an_intention_made_by_id_can_be_imported(consul: Consul, unique: str) -> None:
    await consul.intentions.create("web", unique, action="deny", meta={"team": "shop"})
    kept = [each for each in await consul.intentions.export() if each.name == unique]
    assert not await consul.intentions.plan(kept, prune=False)
    await consul.config.delete("service-intentions", unique)
    assert len((await consul.intentions.import_(kept)).added) == 1
    assert (await consul.intentions.read("web", unique)).action == "deny"


@pytest.mark.parametrize(
    ("desired", "what"),
    [
        ([entry("a")], "at least one source"),
        ([entry("", web="allow")], "needs the name"),
        ([entry("a", web="allow"), entry("A", web="deny")], "more than once"),
        ([entry("a", web="permit")], "'web' => 'a': action must be"),
        ([ServiceIntentions(name="a", sources=(SourceIntention(name="w", action="deny"),) * 2)], "more than once"),
        ([replace(entry("a", web="allow"), meta={"k" * 200: ""})], "'a': .*128"),
        ([entry("a", **{"": "allow"})], r"'a': sources\[0\]\.name is required"),
        ([entry("a", **{"we*": "allow"})], r"'we\*' => 'a': name: '\*' stands for a whole name"),
        ([entry("a*z", web="allow")], r"'a\*z': name: '\*' stands for a whole name"),
        ([entry("a//b", web="allow")], "'a//b': name: Consul takes 'a//b' here"),
        ([entry("..", web="allow")], r"'\.\.': name: "),
        ([entry("a\nb", web="allow")], "cannot be printed"),
        ([one(namespace="n*")], r"namespace: '\*' stands for a whole name"),
        ([one(namespace="*")], r"names a service after the namespace '\*'"),
        ([one(partition="*")], "partition takes no"),
        ([one(peer="*")], "peer takes no"),
        ([one(type="foo")], "'web' => 'a': type must be 'consul' or left out, not 'foo'"),
        ([replace(entry("a", web="allow"), jwt=NOBODY)], r"'a': jwt\.providers\[0\]\.name is required"),
        (
            [one(action=None, permissions=(Permission(action="allow", http=ROOT, jwt=NOBODY),))],
            r"jwt\.providers\[0\]\.name",
        ),
    ],
)
async def test_plan_with_invalid_entries_raises_invalid_request(
    consul: Consul, desired: list[ServiceIntentions], what: str
) -> None:
    good = entry("0", web="allow")
    for call in (consul.intentions.plan, consul.intentions.import_):
        with pytest.raises(InvalidRequest, match=what):
            await call([good, *desired])
    assert "0" not in {each.name for each in await consul.intentions.export()}


async def test_a_peers_service_is_another_source(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    if agent.version < (1, 13):
        pytest.skip("peers are known from 1.13 on")
    local = SourceIntention(name="web", action="allow")
    peered = SourceIntention(name="web", peer="east", action="deny")
    desired = ServiceIntentions(name=unique, sources=(local, peered), meta={"owner": "a"})
    plan = await consul.intentions.import_([desired])
    assert str(plan).splitlines() == [f"+ web => {unique}: allow", f"+ web of peer east => {unique}: deny"]
    assert not await consul.intentions.plan([replace(desired, sources=(peered, local))], prune=False)
    changed = replace(desired, sources=(local,), meta={"owner": "b"})
    plan = await consul.intentions.plan([changed], prune=False)
    assert str(plan).splitlines() == [f"- web of peer east => {unique}: deny", f"~ {unique}: meta"]
    await plan.apply()
    (stored,) = [each for each in await consul.intentions.export() if each.name == unique]
    assert [source.peer for source in stored.sources] == [""]
    await consul.config.delete("service-intentions", unique)


# What is seen, and what is not.


def own(name: str) -> str:
    return f'service "{name}" {{ policy = "read" intentions = "write" }}'


async def stored_for(guarded: GuardedAgent, unique: str) -> set[tuple[str, str, str]]:
    async with Consul(guarded.url, token=guarded.management) as manager:
        found = await manager.intentions.list()
    return {
        (i.source_name, i.destination_name.removeprefix(unique), str(i.action))
        for i in found
        if i.destination_name.startswith(unique)
    }


@pytest.fixture
async def shop(guarded: GuardedAgent, unique: str) -> AsyncIterator[str]:
    """Intentions of two destinations, MINE and THEIRS, on an agent with ACLs; the prefix of their names."""
    if guarded.version < (1, 9):
        pytest.skip("service-intentions are config entries from 1.9 on")
    async with Consul(guarded.url, token=guarded.management) as manager:
        for name in ("-mine", "-theirs"):
            await manager.intentions.upsert("web", unique + name, action="allow")
        yield unique
        for name in ("-mine", "-theirs", "-new", "-old"):
            await manager.config.delete("service-intentions", unique + name)


async def test_plan_of_a_token_that_sees_a_part_says_what_is_hidden_and_is_not_applied(
    guarded: GuardedAgent, shop: str
) -> None:
    desired = [entry(f"{shop}-mine", web="deny"), entry(f"{shop}-theirs", web="deny")]
    async with Consul(guarded.url, token=await guarded.token(own(f"{shop}-mine"))) as consul:
        plan = await consul.intentions.plan(desired)
        assert (plan.added, plan.removed) == ((), ())
        assert [each.name for each in plan.hidden] == [f"{shop}-theirs"]
        assert (plan.filtered, plan.anonymous) == (guarded.version >= (1, 11), False)
        lines = str(plan).splitlines()
        assert lines[:2] == [
            f"~ web => {shop}-mine: allow -> deny",
            f"! {shop}-theirs: the token may not read its intentions",
        ]
        assert lines[2].startswith("! entries to remove may be missing: ")
        before = await stored_for(guarded, shop)
        for _ in range(2):
            with pytest.raises(PermissionDenied, match=f"nothing was written: {shop}-theirs: .*partial=True"):
                await plan.apply()
        with pytest.raises(PermissionDenied, match="may not read"):
            await consul.intentions.import_(desired)
        assert await stored_for(guarded, shop) == before
        await plan.apply(partial=True)
    assert await stored_for(guarded, shop) == {("web", "-mine", "deny"), ("web", "-theirs", "allow")}


async def test_plan_without_a_token_is_not_nothing_to_do(guarded: GuardedAgent, shop: str) -> None:
    async with Consul(guarded.url, token="") as nobody:
        plan = await nobody.intentions.plan([])
        assert (plan.anonymous, bool(plan)) == (True, False)
        why = "without a token Consul leaves out entries, and does not say so"
        assert str(plan).splitlines() == [
            "nothing to do among what is seen",
            f"! entries to remove may be missing: {why}",
        ]
        with pytest.raises(PermissionDenied, match="may be missing"):
            await plan.apply()
        plan = await nobody.intentions.plan([entry(f"{shop}-theirs", web="deny")], prune=False)
        assert (plan.added, len(plan.hidden), bool(plan)) == ((), 1, True)
        assert repr(plan) == "<Plan 0 added, 0 changed, 0 removed, 1 hidden, incomplete>"


async def test_plan_of_a_token_for_its_own_destinations_is_applied_and_prunes_when_told_so(
    guarded: GuardedAgent, shop: str
) -> None:
    rules = own(f"{shop}-mine") + own(f"{shop}-new")
    async with Consul(guarded.url, token=await guarded.token(rules)) as consul:
        plan = await consul.intentions.plan([entry(f"{shop}-new", api="allow")], prune=False)
        assert str(plan).splitlines()[0] == f"+ api => {shop}-new: allow"
        assert str(plan).splitlines()[1].startswith("? other destinations may have intentions that are not seen: ")
        await plan.apply()
        plan = await consul.intentions.plan([entry(f"{shop}-new", api="allow")], prune="unchecked")
        assert [each.name for each in plan.removed] == [f"{shop}-mine"]
        with pytest.raises(PermissionDenied, match="may be missing"):
            await plan.apply()
        await plan.apply(partial=True)
    assert await stored_for(guarded, shop) == {("api", "-new", "allow"), ("web", "-theirs", "allow")}


@pytest.mark.parametrize("whose", ["management", "reads everything"])
async def test_plan_of_a_token_that_sees_all_is_complete_where_consul_can_tell(
    guarded: GuardedAgent, shop: str, whose: str
) -> None:
    everything = 'service_prefix "" { policy = "read" intentions = "read" }'
    token = guarded.management if whose == "management" else await guarded.token(everything)
    async with Consul(guarded.url, token=token) as consul:
        plan = await consul.intentions.plan([])
    told = whose == "management" or guarded.version >= (1, 11)
    assert (not plan.incomplete, plan.filtered, plan.anonymous) == (told, False, False)
    assert told or "from 1.11 on it does" in plan.incomplete


async def test_plan_without_a_token_where_nothing_is_hidden_is_complete(consul: Consul) -> None:
    plan = await consul.intentions.plan([], prune=False)
    assert (plan.anonymous, plan.incomplete, str(plan)) == (True, "", "nothing to do")


# What Consul would refuse is said before anything is written.


L7 = (Permission(action="allow", http=HTTPPermission(path_prefix="/")),)


async def test_plan_with_permissions_for_a_tcp_service_is_refused_before_a_write(consul: Consul, unique: str) -> None:
    requests = ServiceIntentions(name=f"{unique}-b", sources=(SourceIntention(name="web", permissions=L7),))
    desired = [entry(f"{unique}-a", web="allow"), requests]
    plan = await consul.intentions.plan(desired, prune=False)
    what = f"{unique}-b: permissions need the protocol http, http2 or grpc, and it has tcp"
    assert [text.partition(":")[0] for text in plan.problems] == [f"{unique}-b"]
    assert f"! {what}" in str(plan)
    for call in (plan.apply, lambda: consul.intentions.import_(desired)):
        with pytest.raises(InvalidRequest, match=f"nothing was written: {what}"):
            await call()
    assert not [each for each in await consul.intentions.export() if each.name.startswith(unique)]
    await consul.config.write(ServiceDefaults(name=f"{unique}-b", protocol="grpc"))
    assert not (await consul.intentions.import_(desired)).problems
    for name in ("a", "b"):
        await consul.config.delete("service-intentions", f"{unique}-{name}")
    await consul.config.delete("service-defaults", f"{unique}-b")


async def test_plan_of_a_token_that_may_not_ask_for_the_protocol_says_so(guarded: GuardedAgent, shop: str) -> None:
    rules = f'service "{shop}-new" {{ policy = "deny" intentions = "write" }}'
    desired = [ServiceIntentions(name=f"{shop}-new", sources=(SourceIntention(name="web", permissions=L7),))]
    async with Consul(guarded.url, token=await guarded.token(rules)) as consul:
        plan = await consul.intentions.plan(desired, prune=False)
        assert plan.problems == ()
        assert f"? {shop}-new: whether its protocol allows permissions is not known" in str(plan)


async def test_plan_that_requires_tokens_of_nobody_is_refused_before_a_write(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    required = JWTRequirement(providers=(JWTProviderRequirement(name=f"{unique}-okta"),))
    plan = await consul.intentions.plan([replace(entry(unique, web="allow"), jwt=required)], prune=False)
    if agent.version < (1, 16):
        assert "JWT needs Consul 1.16, and the agent is" in str(plan)
        return
    assert plan.problems == (f"{unique}: there is no jwt-provider '{unique}-okta': first write it",)
    with pytest.raises(InvalidRequest, match="there is no jwt-provider"):
        await plan.apply()


@pytest.mark.parametrize(
    "desired",
    [
        ServiceIntentions(name="zz", namespace="default", sources=one().sources),
        ServiceIntentions(name="zz", partition="ap1", sources=one().sources),
        replace(one(namespace="default"), name="zz"),
        replace(one(partition="default"), name="zz"),
        replace(one(sameness_group="g"), name="zz"),
    ],
)
async def test_plan_with_what_needs_enterprise_is_refused_before_a_write(
    consul: Consul, unique: str, desired: ServiceIntentions
) -> None:
    plan = await consul.intentions.plan([entry(f"{unique}-a", web="allow"), desired], prune=False)
    assert plan.problems == ("zz: namespace, partition and sameness_group need Consul Enterprise: leave them out",)
    with pytest.raises(Unsupported, match="nothing was written: zz") as caught:
        await plan.apply()
    assert caught.value.min_version == "Consul Enterprise"
    assert f"{unique}-a" not in {each.name for each in await consul.intentions.export()}


# Removals.


@pytest.mark.parametrize("name", ["..", "a\nb", "a//b"])
async def test_removal_of_an_entry_whose_name_no_path_leads_to_is_a_problem_of_the_plan(
    consul: Consul, agent: AgentUnderTest, unique: str, name: str
) -> None:
    name = name if name == ".." else f"{unique}{name}"
    made = {"Kind": "service-intentions", "Name": name, "Sources": [{"Name": "web", "Action": "allow"}]}
    await consul.request("PUT", "/v1/config", body=made)
    stored = await consul.intentions.export()
    assert not await consul.intentions.plan(stored)
    others = [each for each in stored if each.name != name]
    new = entry(f"{unique}-new", web="allow")
    plan = await consul.intentions.plan([*others, new], prune="unchecked")
    led_to = agent.version >= (1, 20) and name.isprintable()
    way = "or remove it with Consul 1.20" if "/" in name else "with intentions.delete"
    assert (not plan.problems) == led_to
    if not led_to:
        assert plan.problems[0].startswith(f"{name!r}: no path leads to")
        assert plan.problems[0].endswith(way)
        with pytest.raises(InvalidRequest, match="nothing was written"):
            await plan.apply()
        assert not [each for each in await consul.intentions.export() if each.name == new.name]
    if led_to:
        await plan.apply()
        await consul.config.delete("service-intentions", new.name)
    elif "/" not in name:
        await consul.intentions.delete("web", name)
    left = name in {each.name for each in await consul.intentions.export()}
    assert left == (not led_to and "/" in name)


async def test_removal_on_an_old_consul_is_unchecked_when_told_so(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    for name in ("-old", "-older"):
        await consul.intentions.upsert("web", unique + name, action="allow")
    others = [each for each in await consul.intentions.export() if not each.name.startswith(unique)]
    plan = await consul.intentions.plan(others)
    assert len(plan.removed) == 2
    if agent.version < (1, 11):
        assert any("1.11" in text and "prune='unchecked'" in text for text in plan.problems)
        with pytest.raises(Unsupported, match=r"1\.11") as caught:
            await plan.apply()
        assert caught.value.min_version == "1.11"
    plan = await consul.intentions.plan(others, prune="unchecked")
    unchecked = [text for text in plan.notes if "removed without check-and-set" in text]
    assert (len(unchecked), plan.problems) == (int(agent.version < (1, 11)), ())
    await consul.intentions.upsert("api", f"{unique}-older", action="deny")
    with pytest.raises(Conflict) as conflict:
        await plan.apply()
    assert conflict.value.reason is ErrorReason.CHANGED_MEANWHILE
    plan = await consul.intentions.plan(others, prune="unchecked")
    await plan.apply()
    assert not [each for each in await consul.intentions.export() if each.name.startswith(unique)]
