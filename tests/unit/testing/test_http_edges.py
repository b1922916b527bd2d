"""The edges of HTTP in the in-process agent: null bodies, paths that are not modelled, long answers, rights."""

import aiohttp
import pytest
from support.polling import INTENTIONS, Client, session
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

pytestmark = pytest.mark.timed

NEWER = VERSIONS[1:]


@pytest.mark.parametrize("version", NEWER, indirect=True)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", INTENTIONS),
        ("PUT", f"{INTENTIONS}/exact?source=a&destination=b"),
        ("PUT", "/v1/connect/ca/configuration"),
    ],
)
async def test_a_null_body_ends_the_connection_without_an_answer(client: Client, method: str, path: str) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.ask(method, path, "null")
    assert (await client.ask("GET", INTENTIONS))[0] == 200


async def test_path_that_is_not_modelled_is_answered_501_that_names_it(client: Client) -> None:
    status, said, _ = await client.ask("GET", "/v1/session/list")
    assert status == 501
    assert "does not model GET /v1/session/list" in said
    assert "aioconsulconnect.testing.real_agent" in said
    assert (await client.ask("GET", "/v1/nothing"))[0] == 404


async def test_path_of_a_later_version_is_unknown_before_it(client: Client, version: Version) -> None:
    old = version in {"1.8", "1.10"}
    for path in ("/v1/agent/version", "/v1/peerings"):
        assert (await client.ask("GET", path))[0] == (404 if old else 200)


async def test_long_answers_come_compressed_or_in_chunks(newest_client: Client) -> None:
    for i in range(20):
        await newest_client.allow("web", f"s{i}")
    _, packed, headers = await newest_client.ask("GET", INTENTIONS, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    _, plain, headers = await newest_client.ask("GET", INTENTIONS, **{"Accept-Encoding": "identity"})
    assert headers["Transfer-Encoding"] == "chunked"
    assert packed == plain
    assert "Server" not in headers


async def test_rights_decide_what_is_listed_and_the_reason_names_the_token() -> None:
    async with Agent(acl=True) as agent, session() as opened:
        client = Client(agent, opened)
        manager = {"X-Consul-Token": agent.management_token}
        rules = {"Name": "db", "Rules": '{"service": {"db": {"policy": "read", "intentions": "read"}}}'}
        await client.ask("PUT", "/v1/acl/policy", rules, **manager)
        _, token, _ = await client.ask("PUT", "/v1/acl/token", {"Policies": [{"Name": "db"}]}, **manager)
        for destination in ("db", "api"):
            path = f"{INTENTIONS}/exact?source=web&destination={destination}"
            await client.ask("PUT", path, {"Action": "allow"}, **manager)
        reader = {"X-Consul-Token": token["SecretID"]}
        _, seen, headers = await client.ask("GET", INTENTIONS, **reader)
        assert [intention["DestinationName"] for intention in seen] == ["db"]
        assert headers["X-Consul-Results-Filtered-By-Acls"] == "true"
        status, said, _ = await client.ask("GET", f"{INTENTIONS}/match?by=destination&name=api", **reader)
        assert status == 403
        lacks = f"token with AccessorID '{token['AccessorID']}' lacks permission 'intention:read' on \"api\""
        assert said == f"Permission denied: {lacks}"
        _, nobody, headers = await client.ask("GET", INTENTIONS)
        assert nobody == []
        assert "X-Consul-Results-Filtered-By-Acls" not in headers
