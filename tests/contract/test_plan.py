"""All intentions as config entries: exported, planned, applied, on every agent that has them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.agents_under_test import AgentUnderTest

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import Conflict, InvalidRequest, Unsupported
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.structs.config_entries.kinds import dump_entries, read_entries
from aioconsulconnect.structs.intentions import HTTPPermission, Permission


@pytest.fixture(autouse=True)
def _has_entries(agent: AgentUnderTest) -> None:
    if agent.version < (1, 9):
        pytest.skip("service-intentions are config entries from 1.9 on")


def entry(name: str, **sources: str) -> ServiceIntentions:
    rules = [SourceIntention(name=source, action=action) for source, action in sources.items()]  # type: ignore[arg-type]
    return ServiceIntentions(name=name, sources=tuple(rules))


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
    assert str(plan).splitlines() == [
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
        f"+ web => {unique.upper()}: permissions allow GET|PUT /* (shop)",
    ]
    assert not await consul.intentions.import_([desired])
    changed = replace(desired, sources=(desired.sources[0], replace(desired.sources[1], description="till")))
    assert await consul.intentions.plan([changed], prune=False)


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
        ([replace(entry("a", web="allow"), meta={"k" * 200: ""})], "128"),
    ],
)
async def test_plan_with_invalid_entries_raises_invalid_request(
    consul: Consul, desired: list[ServiceIntentions], what: str
) -> None:
    with pytest.raises(InvalidRequest, match=what):
        await consul.intentions.plan(desired)


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
    assert str(plan).splitlines() == [f"- web of peer east => {unique}: deny", f"~ {unique}: meta or jwt"]
    await plan.apply()
    (stored,) = [each for each in await consul.intentions.export() if each.name == unique]
    assert [source.peer for source in stored.sources] == [""]
    await consul.config.delete("service-intentions", unique)
