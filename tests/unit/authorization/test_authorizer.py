"""Authorizers on a fake Consul and in virtual time: what they follow, how they begin and end."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from support.authorization import HOME, WEB
from support.fakes import Told, always, error, idle, refused
from support.meshes import AUTHORIZE, BY_ACLS, LIST, MATCH, MESH, PROVIDER, MeshWorld, rule

from aioconsulconnect.authorization import table_maker
from aioconsulconnect.authorization.authorizer_status import Decision
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.table_maker import TableMaker
from aioconsulconnect.errors import Closed, InvalidRequest, NotReady, PermissionDenied, UnreadableResponse
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.watch import Watch

OTHER = "99999999-2222-3333-4444-555555555555.consul"
READS = [{"Action": "allow", "HTTP": {"PathPrefix": "/items"}}]


# What it answers


async def test_one_destination_one_match_decides_names_and_ids() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("*", action="deny"))
        async with world.entered("db", default="allow") as authorizer:
            assert authorizer.check("web").reason is Reason.INTENTION
            assert authorizer.check("web")
            assert authorizer.check(WEB)
            assert not authorizer.check("api")
            assert authorizer.check(WEB.replace(HOME, OTHER)).reason is Reason.FOREIGN_TRUST_DOMAIN
            assert authorizer.check("web", "other").reason is Reason.DESTINATION_UNKNOWN
            assert authorizer.status.state == "ready"
            assert authorizer.status.trust_domain == HOME


async def test_several_destinations_share_one_poll() -> None:
    async with MeshWorld() as world:
        everywhere = rule("ops", "*")
        world.mesh.intentions(rule("web"), everywhere, cache=[rule("web", "cache", "deny"), everywhere])
        async with world.entered("db", "cache", default="deny") as authorizer:
            assert authorizer.check("web", "db")
            assert not authorizer.check("web", "cache")
            assert authorizer.check("ops", "db")
            assert authorizer.check("ops", "cache")
            assert authorizer.check("web").reason is Reason.DESTINATION_UNKNOWN
            assert len([call for call in world.mesh.polls if call.path == MATCH]) == 1


async def test_no_destination_follows_the_list_and_decides_about_all() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("web", "cache", "deny"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db")
            assert authorizer.check("web", "cache").reason is Reason.INTENTION
            assert authorizer.check("web", "other").reason is Reason.DEFAULT
            assert not [call for call in world.mesh.calls if call.path == MATCH]


async def test_changed_intention_is_another_table_at_once() -> None:
    async with MeshWorld() as world, world.entered("db", default="deny") as authorizer:
        assert not authorizer.check("web")
        world.mesh.intentions(rule("web"))
        await world.clock.advance(0)
        assert authorizer.check("web")
        assert authorizer.status.counters.tables >= 2


async def test_unknown_field_of_an_intention_denies() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web", OnlyOnSundays=True), rule("api"))
        async with world.entered("db", default="allow") as authorizer:
            assert authorizer.check("web").reason is Reason.FIELD_UNKNOWN
            assert authorizer.check("api")


async def test_destination_of_a_namespace_is_decided_in_it() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web", DestinationNS="team", SourceNS="team"))
        async with world.authorizer("db", options=Options(namespace="team"), default="deny", enterprise=True) as made:
            await world.clock.advance(2)
            assert made.check("team/web")
            assert made.check("web")  # of the own namespace, as everywhere
            assert made.check("web", "db")
            assert made.check("web", "team/db")
            assert made.explain("web").matched
            assert not made.check("default/web")
            assert not made.check("*")
            assert made.status.destinations == ("team/db",)


@pytest.mark.parametrize("name", ["", "*", "a/b/c/d", "spiffe://x/y"])
def test_name_of_no_destination_is_refused(name: str) -> None:
    async def make() -> None:
        MeshWorld().authorizer(name)

    with pytest.raises(InvalidRequest):
        asyncio.run(make())


@pytest.mark.parametrize("choices", [{"mode": "other"}, {"default": "maybe"}, {"max_age": 0}])
async def test_wrong_option_is_refused(choices: dict[str, Any]) -> None:
    async with MeshWorld() as world:
        with pytest.raises(InvalidRequest):
            world.authorizer("db", **choices)


# What it learns


@pytest.mark.parametrize(
    ("allowed", "reason"),
    [
        (True, "ACLs disabled, access is allowed by default"),
        (False, BY_ACLS),
        (True, BY_ACLS),
        (False, "Default intention policy"),
    ],
)
async def test_default_is_learnt_from_the_agent(allowed: bool, reason: str) -> None:
    async with MeshWorld() as world:
        world.mesh.default = world.mesh.says(allowed, reason)
        async with world.entered("db") as authorizer:
            verdict = authorizer.check("web")
            assert (verdict.allowed, verdict.reason) == (allowed, Reason.DEFAULT)
            known = authorizer.status.default
            assert (known.action, known.origin, known.error) == ("allow" if allowed else "deny", "agent", "")


async def test_default_that_is_given_is_not_asked_for() -> None:
    async with MeshWorld() as world, world.entered("db", default="allow") as authorizer:
        assert authorizer.check("web")
        assert authorizer.status.default.origin == "setting"
        assert not [call for call in world.mesh.calls if call.path == AUTHORIZE]


async def test_default_that_changes_is_seen_within_a_minute() -> None:
    async with MeshWorld() as world, world.entered("db") as authorizer:
        assert not authorizer.check("web")
        world.mesh.default = world.mesh.says(True, "Default intention policy")
        await world.clock.advance(61)
        assert authorizer.check("web")


async def test_default_that_changes_is_seen_at_once_after_a_reconnect() -> None:
    async with MeshWorld() as world:
        world.mesh.default = world.mesh.says(True, BY_ACLS)
        async with world.entered("db") as authorizer:
            await world.clock.advance(3)
            assert authorizer.check("web")
            world.mesh.fail(refused())
            await world.clock.advance(5)
            world.mesh.default = world.mesh.says(False, BY_ACLS)
            world.mesh.down = None
            await world.clock.advance(3)
            assert authorizer.status.watch.state == "synced"
            assert not authorizer.check("web")


async def test_trust_domain_that_changes_is_followed() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            world.mesh.trust(OTHER)
            await world.clock.advance(0)
            assert authorizer.check(WEB).reason is Reason.FOREIGN_TRUST_DOMAIN
            assert authorizer.check(WEB.replace(HOME, OTHER))


async def test_mesh_entry_decides_how_requests_are_normalized() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web", Permissions=READS))
        async with world.entered("db", default="deny") as authorizer:
            request = HTTPRequest("GET", "//items")
            assert not authorizer.check("web", request=request)
            normalization = {"MergeSlashes": True}
            world.mesh.put_at(MESH, {"Kind": "mesh", "HTTP": {"Incoming": {"RequestNormalization": normalization}}})
            await world.clock.advance(16)  # an absent entry is looked for again
            verdict = authorizer.check("web", request=request)
            assert verdict
            assert verdict.request is not None
            assert verdict.request.path == "/items"


async def test_consul_without_mesh_entries_has_the_usual_normalization() -> None:
    async with MeshWorld() as world:
        world.mesh.put_at(MESH, "Bad request: invalid config entry kind: mesh", status=400)
        world.mesh.intentions(rule("web", Permissions=READS))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web", request=HTTPRequest("GET", "/x/../items"))


async def test_issuer_of_a_provider_is_compared() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web", JWT={"Providers": [{"Name": "okta"}]}))
        entry = {"Kind": "jwt-provider", "Name": "okta", "Issuer": "https://okta", "JSONWebKeySet": None}
        world.mesh.put_at(PROVIDER + "okta", entry)
        async with world.entered("db", default="deny") as authorizer:
            request = HTTPRequest("GET", "/")
            assert authorizer.status.issuers == {"okta": "https://okta"}
            assert authorizer.check("web", request=request, claims={"okta": {"iss": "https://okta"}})
            assert not authorizer.check("web", request=request, claims={"okta": {"iss": "https://other"}})
            world.mesh.intentions(rule("web"))
            await world.clock.advance(0)
            assert authorizer.status.issuers == {}


# What it tells


async def test_changes_tell_who_may_call_now_and_who_no_more() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("api", action="deny"))
        async with world.entered("db", default="deny") as authorizer:
            told = Told(authorizer.changes(), world.clock)
            await idle()
            world.mesh.intentions(rule("web", action="deny"), rule("api", Permissions=READS))
            await world.clock.advance(0)
            world.mesh.intentions(rule("web", action="deny", Description="only words"), rule("api", Permissions=READS))
            await world.clock.advance(0)
            first, second = told.got
            assert [(one.source, one.destination, one.now.allowed) for one in first] == [("web", "db", True)]
            assert {(one.source, one.before.allowed, one.now.reason) for one in second} == {
                ("web", True, Reason.INTENTION),
                ("api", False, Reason.REQUEST_NEEDED),
            }
        await idle()
        assert told.ended


async def test_changes_of_all_tell_of_any_other_destination() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("ops", "*"))
        async with world.entered(default="deny") as authorizer:
            told = Told(authorizer.changes(), world.clock)
            await idle()
            found = {(one.source, one.destination) for one in told.got[0]}
            assert found == {("web", "db"), ("ops", "db"), ("ops", "*")}


async def test_lost_token_is_told_as_a_loss_of_all_access() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            told = Told(authorizer.changes(), world.clock)
            await idle()
            forbidden = error(403, "Permission denied")
            world.mesh.fault = always(forbidden)
            world.mesh.end_polls(forbidden)
            await world.clock.advance(0.1)
            assert [(one.source, one.now.reason) for one in told.got[1]] == [("web", Reason.INCOMPLETE)]


async def test_hook_is_given_every_decision_and_may_fail() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        seen: list[Decision] = []

        def hook(decision: Decision) -> None:
            seen.append(decision)
            if len(seen) == 2:
                raise ValueError("the audit log is full")

        async with world.entered("db", default="deny", on_decision=hook, max_age=30.0) as authorizer:
            assert authorizer.check("web")
            assert not authorizer.check("api")
            assert authorizer.check("web")
            counters = authorizer.status.counters
            assert (counters.allowed, counters.denied, counters.hook_errors) == (2, 1, 1)
            assert [(one.source, bool(one.verdict)) for one in seen] == [("web", True), ("api", False), ("web", True)]


async def test_explanation_has_the_rule_and_the_age() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("*", action="deny"))
        async with world.entered("db", default="deny") as authorizer:
            await world.clock.advance(7)
            found = authorizer.explain("web")
            assert [one.source_name for one in found.matched] == ["web", "*"]
            assert found.verdict.age is not None
            assert found.verdict.age >= 7


# Its life


async def test_ready_waits_for_all_that_can_be_learnt() -> None:
    async with MeshWorld() as world, world.authorizer("db") as authorizer:
        waiting = asyncio.create_task(authorizer.ready())
        await world.clock.advance(2)
        assert waiting.done()
        await waiting
        assert authorizer.status.default.action == "deny"


async def test_ready_says_at_its_timeout_why() -> None:
    async with MeshWorld() as world:
        world.mesh.down = refused()
        async with world.authorizer("db") as authorizer:
            await world.clock.advance(1)
            with pytest.raises(NotReady, match="nobody listens"):
                await authorizer.ready(0.01)


async def test_ready_raises_what_ended_the_watch() -> None:
    async with MeshWorld() as world:
        world.mesh.fault = always(error(403, "Permission denied"))
        async with world.authorizer("db") as authorizer:
            await world.clock.advance(10)
            with pytest.raises(PermissionDenied):
                await authorizer.ready()
            assert authorizer.check("web").reason is Reason.INCOMPLETE


async def test_verdict_tells_its_age_while_the_agent_is_away() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web").age is None
            world.mesh.fail(refused())
            await world.clock.advance(100)
            verdict = authorizer.check("web")
            assert verdict
            assert verdict.age is not None
            assert 100 <= verdict.age < 160
            world.mesh.down = None
            await world.clock.advance(60)
            assert authorizer.check("web").age is None


async def test_closing_that_is_cancelled_leaves_no_task() -> None:
    async with MeshWorld() as world:
        before = len(asyncio.all_tasks())
        authorizer = world.authorizer("db")
        await authorizer.__aenter__()
        closing = asyncio.create_task(authorizer.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        await world.polls.aclose()
        await idle()
        assert len(asyncio.all_tasks()) == before


async def test_left_authorizer_denies_and_leaves_nothing() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        before = len(asyncio.all_tasks())
        async with world.entered("db", max_age=20.0) as authorizer:
            assert authorizer.check("web")
        assert authorizer.check("web").reason is Reason.NOT_READY
        assert authorizer.status.state == "closed"
        await authorizer.aclose()
        with pytest.raises(Closed):
            await authorizer.ready()
        with pytest.raises(Closed):
            await authorizer.__aenter__()
        await world.polls.aclose()
        await idle()
        assert len(asyncio.all_tasks()) == before


async def test_client_that_is_closed_first_ends_it() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        before = len(asyncio.all_tasks())
        async with world.entered("db", default="deny") as authorizer:
            told = Told(authorizer.changes(), world.clock)
            await idle()
            await world.polls.aclose()
            await idle()
            assert authorizer.check("web").reason is Reason.NOT_READY
            assert told.ended
            with pytest.raises(Closed):
                await authorizer.ready()
        await idle()
        assert len(asyncio.all_tasks()) == before
        with pytest.raises(Closed):
            async with world.authorizer("db"):
                pass


async def test_authorizer_is_not_pickled_and_shows_itself() -> None:
    async with MeshWorld() as world:
        authorizer = world.authorizer("db", "cache")
        assert repr(authorizer) == "<Authorizer db, cache starting>"
        with pytest.raises(TypeError):
            pickle.dumps(authorizer)
        with pytest.raises(Closed):
            await authorizer.ready()


async def test_list_is_asked_for_and_no_match_where_no_destination_is_given() -> None:
    async with MeshWorld() as world, world.entered() as authorizer:
        assert authorizer.status.destinations == ()
        assert [call for call in world.mesh.polls if call.path == LIST]


async def test_mode_envoy_is_followed_and_lets_pass_what_it_lets_pass() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("web", "*", "deny"))
        async with world.entered("db", default="deny", mode="envoy") as authorizer:
            assert authorizer.status.mode == "envoy"
            found = authorizer.explain("web")
            assert found.mode == "envoy"
            assert found.verdict.allowed is authorizer.check("web").allowed


async def test_certificate_with_several_uris_and_unhashable_callers_are_denied() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="allow") as authorizer:
            assert authorizer.check([WEB])
            assert authorizer.check([WEB, WEB]).reason is Reason.SEVERAL_IDENTITIES
            assert authorizer.check(None).reason is Reason.NO_SERVICE


async def test_bug_while_a_table_is_made_ends_it_and_denies(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web")

            async def broken(self: TableMaker, seen: object) -> frozenset[str]:
                raise ZeroDivisionError

            monkeypatch.setattr(TableMaker, "study", broken)
            world.mesh.intentions(rule("api"))
            await world.clock.advance(0)
            assert authorizer.check("web").reason is Reason.NOT_READY
            assert authorizer.status.state == "closed"
            assert "bug" in caplog.text


async def test_bug_in_a_listener_ends_it_and_denies(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:

            async def broken(self: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr(Watch, "answered", broken)
            world.mesh.intentions(rule("api"))
            await world.clock.advance(0)
            assert authorizer.check("api").reason is Reason.NOT_READY
            assert "bug" in caplog.text


async def test_answer_whose_fields_cannot_be_looked_at_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(body: bytes) -> object:
        raise UnreadableResponse("a body does not decode")

    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        monkeypatch.setattr(table_maker, "unknown_fields_in_slices", unreadable)
        async with world.entered("db", default="allow") as authorizer:
            assert authorizer.check("web").reason is Reason.FIELD_UNKNOWN
            assert authorizer.status.state == "incomplete"


async def test_source_that_is_named_for_every_destination_changes_with_a_destinations_rule_for_all() -> None:
    async with MeshWorld() as world:
        everywhere = rule("ops", "*")
        world.mesh.intentions(everywhere, rule("*", "db", "deny"), rule("web", "cache"))
        async with world.entered(default="deny") as authorizer:
            told = authorizer.changes()
            await anext(told)
            world.mesh.intentions(everywhere, rule("web", "cache"))
            following = asyncio.create_task(anext(told))
            await world.clock.advance(1)
            assert [(one.source, one.destination, one.now.allowed) for one in await following] == [("ops", "db", True)]
