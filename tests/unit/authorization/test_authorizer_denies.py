"""What an authorizer does not know, it denies, and says why: one test for each row of the page's table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from support.authorization import HOME, WEB
from support.fakes import Answer, Call, Fault, always, error, refused
from support.meshes import AUTHORIZE, LIST, MATCH, MESH, PROVIDER, MeshWorld, rule

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.transport.response import Response

FORBIDDEN = error(403, "Permission denied")
HTML = Response(404, {"content-type": "text/html"}, b"<html>no such page</html>")


def at(path: str, answer: Answer) -> Fault:
    async def fault(call: Call) -> Answer | None:
        return answer if call.path == path else None

    return fault


Trouble = Callable[[MeshWorld], Awaitable[None]]


async def freeze(world: MeshWorld) -> None:
    world.mesh.frozen = True


async def kill(world: MeshWorld) -> None:
    world.mesh.fail(refused())


async def half_open(world: MeshWorld) -> None:
    """What is sent is lost, and no connection ends."""

    async def never(call: Call) -> Answer | None:
        await world.clock.sleep(1e6)
        return None

    world.mesh.fault = world.mesh.question_fault = never


async def test_before_ready_it_denies() -> None:
    async with MeshWorld() as world:
        authorizer = world.authorizer("db", default="allow")
        assert authorizer.check("web").reason is Reason.NOT_READY
        async with authorizer:
            assert authorizer.check("web").reason is Reason.NOT_READY
            assert authorizer.check("web").by_ignorance
            assert authorizer.explain("web").verdict.reason is Reason.NOT_READY
            assert authorizer.status.state == "starting"


@pytest.mark.parametrize("trouble", [freeze, kill, half_open])
async def test_beyond_max_age_it_denies_and_heals(trouble: Trouble) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny", max_age=15.0) as authorizer:
            await world.clock.advance(60)
            assert authorizer.check("web")
            await trouble(world)
            await world.clock.advance(26)  # a poll in flight may still be answered
            verdict = authorizer.check("web")
            assert verdict.by_age
            assert verdict.age is not None
            assert verdict.age > 15
            assert authorizer.status.state == "expired"
            assert authorizer.explain("web").verdict.by_age
            world.mesh.frozen, world.mesh.down = False, None
            world.mesh.fault = world.mesh.question_fault = None
            await world.clock.advance(60)
            assert authorizer.check("web")


@pytest.mark.parametrize("trouble", [freeze, kill, half_open])
async def test_without_max_age_the_last_good_table_stands(trouble: Trouble) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db") as authorizer:
            await trouble(world)
            await world.clock.advance(300)
            assert authorizer.check("web").reason is Reason.INTENTION
            assert authorizer.check("api").reason is Reason.DEFAULT
            age = authorizer.status.age
            assert age is not None
            assert age >= 300
            assert authorizer.status.watch.state == "stale"


async def test_with_max_age_no_check_is_ever_answered_by_older_data() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny", max_age=10.0) as authorizer:
            for _ in range(50):
                await world.clock.advance(1)
                assert authorizer.check("web")
                age = authorizer.status.age
                assert age is not None
                assert age <= 10
            await kill(world)
            for _ in range(30):
                await world.clock.advance(1)
                age = authorizer.status.age
                assert age is not None
                assert authorizer.check("web").allowed is (age <= 10)


async def test_lost_token_denies_and_a_better_one_heals() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            world.mesh.fault = at(MATCH, FORBIDDEN)
            world.mesh.end_polls(FORBIDDEN)
            await world.clock.advance(0.1)
            assert authorizer.check("web").reason is Reason.INCOMPLETE
            assert authorizer.status.state == "incomplete"
            world.mesh.fault = None
            await world.clock.advance(70)
            assert authorizer.check("web")


@pytest.mark.parametrize("names", [("db",), ()])
async def test_unknown_field_in_an_intention_that_did_not_change_denies(names: tuple[str, ...]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"), rule("api"))
        async with world.entered(*names, default="deny") as authorizer:
            assert authorizer.check("web", "db")
            world.mesh.intentions(rule("web", Weekdays=["Sunday"]), rule("api"))  # as a newer agent would show it
            await world.clock.advance(1)
            assert authorizer.check("web", "db").reason is Reason.FIELD_UNKNOWN
            assert authorizer.check("api", "db")
            world.mesh.intentions(rule("web"), rule("api"))
            await world.clock.advance(1)
            assert authorizer.check("web", "db")


@pytest.mark.parametrize(
    "answer", [FORBIDDEN, Response(200, {}, b'{"Authorized": true, "Reason": "Matched L4 intention: * => db"}')]
)
async def test_default_that_cannot_be_learnt_denies_where_it_matters(answer: Response) -> None:
    async with MeshWorld() as world:
        world.mesh.default = answer
        world.mesh.intentions(rule("web"))
        async with world.entered("db") as authorizer:
            await authorizer.ready(1)
            assert authorizer.check("web")
            assert authorizer.check("api").reason is Reason.DEFAULT_UNKNOWN
            assert authorizer.status.default.action is None
            assert authorizer.status.default.error


async def test_default_that_cannot_be_learnt_any_more_is_forgotten() -> None:
    async with MeshWorld() as world:
        world.mesh.default = world.mesh.says(True, "Default behavior configured by ACLs")
        async with world.entered("db") as authorizer:
            assert authorizer.check("api")
            world.mesh.default = FORBIDDEN
            await world.clock.advance(61)
            assert authorizer.check("api").reason is Reason.DEFAULT_UNKNOWN


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5, 30.0])
async def test_agent_that_starts_anew_is_asked_for_its_default_however_soon_that_is(seconds: float) -> None:
    async with MeshWorld() as world:
        world.mesh.default = world.mesh.says(True, "Default behavior configured by ACLs")
        async with world.entered("db") as authorizer:
            assert authorizer.check("api")
            await world.clock.advance(seconds)
            await kill(world)
            world.mesh.default = world.mesh.says(False, "Default behavior configured by ACLs")
            await world.clock.advance(3)
            world.mesh.down = None
            await world.clock.advance(10)
            assert not authorizer.check("api")
            assert authorizer.check("api").by_default


async def test_default_stands_while_the_agent_cannot_be_asked() -> None:
    async with MeshWorld() as world:
        world.mesh.default = world.mesh.says(True, "Default behavior configured by ACLs")
        async with world.entered("db") as authorizer:
            world.mesh.fault = at(AUTHORIZE, HTML)
            await world.clock.advance(200)
            assert authorizer.check("api").reason is Reason.DEFAULT
            assert authorizer.status.default.error


async def test_trust_domain_that_is_not_known_denies_ids() -> None:
    async with MeshWorld() as world:
        world.mesh.fault = at("/v1/connect/ca/roots", HTML)
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check(WEB).reason is Reason.TRUST_DOMAIN_UNKNOWN
            assert authorizer.check("web")


async def test_normalization_that_is_not_known_denies_requests_alone() -> None:
    async with MeshWorld() as world:
        world.mesh.fault = at(MESH, HTML)
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web")
            assert authorizer.check("web", request=HTTPRequest("GET", "/")).reason is Reason.NORMALIZATION_UNKNOWN
            assert not authorizer.status.knows_normalization


async def test_unknown_field_of_the_mesh_entry_denies_requests() -> None:
    async with MeshWorld() as world:
        world.mesh.put_at(MESH, {"Kind": "mesh", "HTTP": {"Incoming": {"Scrambled": True}}})
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web", request=HTTPRequest("GET", "/")).reason is Reason.FIELD_UNKNOWN


async def test_404_of_a_gateway_is_no_answer() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        world.mesh.fault = always(HTML)
        async with world.entered("db", default="allow") as authorizer:
            assert authorizer.check("web").reason is Reason.NOT_READY
            world.mesh.fault = None
            await world.clock.advance(60)
            assert authorizer.check("web")
            world.mesh.fault = always(HTML)
            world.mesh.end_polls(HTML)
            await world.clock.advance(60)
            assert authorizer.check("web").reason is Reason.INTENTION
            assert authorizer.check(WEB)
            assert authorizer.status.trust_domain == HOME


# What was refused stays refused until something is seen anew; what ended begins again.

TROUBLE: dict[str, Answer] = {
    "away": refused(),
    "throttled": error(429, "Rate limit reached, try again later"),
    "no leader": error(500, "No cluster leader"),
}


@pytest.mark.parametrize("names", [("db",), ()])
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_refusal_that_another_failure_follows_is_not_forgotten(trouble: str, names: tuple[str, ...]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(*names, default="deny") as authorizer:
            world.mesh.fault = at(MATCH if names else LIST, FORBIDDEN)
            world.mesh.end_polls(FORBIDDEN)
            await world.clock.advance(0.1)
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            if trouble == "away":
                world.mesh.fail(refused())
            else:
                world.mesh.fault = at(MATCH if names else LIST, TROUBLE[trouble])
            await world.clock.advance(300)
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            world.mesh.fault = world.mesh.down = None
            await world.clock.advance(300)
            assert authorizer.check("web", "db")


async def test_mesh_entry_of_an_upgraded_agent_is_followed() -> None:
    async with MeshWorld() as world:
        unknown = "Bad request: invalid config entry kind: mesh"
        world.mesh.put_at(MESH, unknown, status=400)
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            escaped = HTTPRequest("GET", "/x%2F..%2Fadmin")
            assert authorizer.check("web", request=escaped)
            strict = {"Incoming": {"RequestNormalization": {"PathWithEscapedSlashesAction": "REJECT_REQUEST"}}}
            world.mesh.put_at(MESH, {"Kind": "mesh", "HTTP": strict})
            await world.clock.advance(70)
            assert authorizer.check("web", request=escaped).reason is Reason.REQUEST_REFUSED


async def test_provider_that_the_token_may_read_later_is_followed() -> None:
    async with MeshWorld() as world:
        world.mesh.put_at(PROVIDER + "okta", "Permission denied", status=403)
        world.mesh.intentions(rule("web", JWT={"Providers": [{"Name": "okta"}]}))
        async with world.entered("db", default="deny") as authorizer:
            request, claims = HTTPRequest("GET", "/"), {"okta": {"iss": "https://okta"}}
            await world.clock.advance(10)
            assert authorizer.check("web", request=request, claims=claims).reason is Reason.TOKEN
            world.mesh.put_at(PROVIDER + "okta", {"Kind": "jwt-provider", "Name": "okta", "Issuer": "https://okta"})
            await world.clock.advance(140)
            assert authorizer.check("web", request=request, claims=claims)


async def test_mesh_entry_that_a_bug_froze_denies_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web", request=HTTPRequest("GET", "/"))
            mesh = authorizer._live.surroundings._mesh
            monkeypatch.setattr(type(mesh.watch), "answered", broken)
            world.mesh.put_at(MESH, {"Kind": "mesh"})
            await world.clock.advance(1)
            assert mesh.error is not None
            assert authorizer.check("web", request=HTTPRequest("GET", "/")).reason is Reason.NORMALIZATION_UNKNOWN


async def broken(_: object) -> None:
    raise ZeroDivisionError


async def test_answer_that_makes_the_data_older_expires_it_at_once() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny", max_age=15.0) as authorizer:
            assert authorizer.check("web")
            world.mesh.flags = {MATCH: {"x-consul-lastcontact": "40000"}}
            world.mesh.intentions(rule("web"))
            await world.clock.advance(1)
            assert authorizer.check("web").by_age
