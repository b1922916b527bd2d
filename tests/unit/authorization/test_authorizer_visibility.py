"""What a list of all intentions may hide from the token, the authorizer denies."""

from __future__ import annotations

import msgspec
import pytest
from support.fakes import Answer, Call, Fault, error, refused
from support.meshes import MATCH, OWN_TOKEN, SELF, MeshWorld, rule

from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.errors import NotReady
from aioconsulconnect.transport.response import Response

HTML = Response(404, {"content-type": "text/html"}, b"<html>no such page</html>")
FILTERED = {"x-consul-results-filtered-by-acls": "true"}


def at(path: str, answer: Answer) -> Fault:
    async def fault(call: Call) -> Answer | None:
        return answer if call.path == path else None

    return fault


@pytest.mark.parametrize("names", [("db",), ()])
async def test_filtered_view_denies_until_it_is_whole_again(names: tuple[str, ...]) -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(*names, default="deny") as authorizer:
            assert authorizer.check("web", "db")
            world.mesh.flags = dict.fromkeys((MATCH, "/v1/connect/intentions"), FILTERED)
            await world.clock.advance(60)  # the same bytes, the next time that the wait is over
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            world.mesh.intentions(rule("api"))  # a table of a filtered view must never come back
            await world.clock.advance(1)
            assert authorizer.check("api", "db").reason is Reason.INCOMPLETE
            world.mesh.flags = {}
            world.mesh.intentions(rule("web"), rule("api", action="deny"))
            await world.clock.advance(1)
            assert authorizer.check("web", "db")
            assert authorizer.check("api", "db").reason is Reason.INTENTION


async def test_anonymous_list_where_acls_are_off_is_whole() -> None:
    async with MeshWorld() as world:
        world.mesh.anonymous = True
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db")
            assert authorizer.status.visibility.acls is False


@pytest.mark.parametrize("answer", [error(403, "ACL not found"), Response(200, {}, b"{}")])
async def test_anonymous_list_where_acls_are_on_denies(answer: Response) -> None:
    async with MeshWorld() as world:
        world.mesh.anonymous, world.mesh.own_token = True, answer
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE


async def test_anonymous_list_where_nobody_knows_of_acls_denies() -> None:
    async with MeshWorld() as world:
        world.mesh.anonymous, world.mesh.fault = True, at(OWN_TOKEN, HTML)
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            world.mesh.fault = None
            await world.clock.advance(61)
            assert authorizer.check("web", "db")


def own_token(*policies: str) -> Response:
    """What the agent says of a token with these policies."""
    return Response(200, {}, msgspec.json.encode({"Policies": [{"ID": one, "Name": "p"} for one in policies] or None}))


MANAGEMENT = "00000000-0000-0000-0000-000000000001"
OTHER = "11111111-0000-0000-0000-000000000001"


@pytest.mark.parametrize("token", [own_token(OTHER), own_token()])
async def test_list_for_a_token_denies_where_the_agent_does_not_tell_what_it_hides(token: Response) -> None:
    async with MeshWorld() as world:
        world.mesh.own_token = token
        world.mesh.put_at(SELF, {"Config": {"Version": "1.10.12"}})
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            with pytest.raises(NotReady, match="does not tell what it leaves out for a token"):
                await authorizer.ready(0.01)
            world.mesh.put_at(SELF, {"Config": {"Version": "1.11.0"}})
            await world.clock.advance(61)
            assert authorizer.check("web", "db")


async def test_list_for_a_token_whose_agent_hides_its_version_denies() -> None:
    async with MeshWorld() as world:
        world.mesh.own_token, world.mesh.fault = own_token(OTHER), at(SELF, error(403, "Permission denied"))
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE


async def test_list_for_a_management_token_is_whole_on_every_version() -> None:
    async with MeshWorld() as world:
        world.mesh.own_token = own_token(OTHER, MANAGEMENT)
        world.mesh.put_at(SELF, {"Config": {"Version": "1.8.7"}})
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            assert authorizer.check("web", "db")


async def test_anonymous_match_is_whole_because_consul_refuses_it_else() -> None:
    async with MeshWorld() as world:
        world.mesh.anonymous, world.mesh.own_token = True, error(403, "ACL not found")
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny") as authorizer:
            assert authorizer.check("web")


async def test_list_that_nobody_vouches_for_denies_until_somebody_does() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny", max_age=30.0) as authorizer:
            assert authorizer.check("web", "db")
            world.mesh.fault = at(OWN_TOKEN, error(429, "Rate limit reached"))
            world.mesh.intentions(rule("web", action="deny"))
            await world.clock.advance(60)
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE
            world.mesh.fault = None
            await world.clock.advance(2)
            assert authorizer.check("web", "db").reason is Reason.INTENTION


async def test_older_agent_whose_list_is_not_marked_is_noticed() -> None:
    async with MeshWorld() as world:
        world.mesh.own_token = own_token(OTHER)
        world.mesh.intentions(rule("web", action="deny"))
        async with world.entered(default="allow") as authorizer:
            assert authorizer.check("web", "db").reason is Reason.INTENTION
            hide_without_a_mark(world)
            world.mesh.intentions()
            await world.clock.advance(1)
            assert authorizer.check("web", "db").reason is Reason.INCOMPLETE


async def test_list_that_stays_the_same_is_doubted_within_a_minute_once_something_may_be_hidden() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(default="allow") as authorizer:
            assert authorizer.check("evil", "db")
            hide_without_a_mark(world)
            await world.clock.advance(61)
            assert authorizer.check("evil", "db").reason is Reason.INCOMPLETE
            world.mesh.own_token = own_token(MANAGEMENT)
            await world.clock.advance(61)
            assert authorizer.check("evil", "db").by_default


async def test_list_of_an_agent_that_starts_anew_again_and_again_is_doubted_at_once() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(default="allow") as authorizer:
            for seconds in (5, 0.2, 1, 3):
                world.mesh.fail(refused())
                await world.clock.advance(seconds)
                world.mesh.down = None
                await world.clock.advance(seconds)
            assert authorizer.check("evil", "db")
            world.mesh.fail(refused())
            hide_without_a_mark(world)  # it comes back with ACLs
            await world.clock.advance(1)
            world.mesh.down = None
            await world.clock.advance(10)
            assert authorizer.check("evil", "db").reason is Reason.INCOMPLETE


def hide_without_a_mark(world: MeshWorld) -> None:
    """From now on the agent leaves out what the token may not read, and does not say so."""
    world.mesh.own_token = own_token(OTHER)
    world.mesh.put_at(SELF, {"Config": {"Version": "1.10.12"}})


async def test_late_answer_about_what_a_list_hides_does_not_replace_a_newer_one() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(default="allow") as authorizer:
            slow = iter([world.mesh.own_token])

            async def late(call: Call) -> Answer | None:
                answer = next(slow, None) if call.path == OWN_TOKEN else None
                if answer is not None:
                    await world.clock.sleep(5)
                return answer

            world.mesh.fault = late
            await world.clock.advance(61)  # the answer that nothing is hidden is on its way
            assert next(slow, None) is None
            hide_without_a_mark(world)
            world.mesh.intentions()
            for _ in range(10):
                await world.clock.advance(1)
                assert authorizer.check("evil", "db").reason is Reason.INCOMPLETE


async def test_agent_that_cannot_be_asked_what_it_hides_leaves_what_was_known() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered(default="deny") as authorizer:
            world.mesh.fault = at(OWN_TOKEN, error(429, "Rate limit reached"))
            await world.clock.advance(200)
            assert authorizer.check("web", "db")
            world.mesh.fault, world.mesh.own_token = at(OWN_TOKEN, HTML), own_token(OTHER)
            await world.clock.advance(200)
            assert authorizer.check("web", "db")
