"""Rights under both default policies, and what tokens, roles and identities give, in every version."""

from __future__ import annotations

import aiohttp
import pytest
from support.callers import REGISTER, SIDECAR, Caller, made
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

CLIENT = "spiffe://11111111-2222-3333-4444-555555555555.consul/{}dc/dc1/svc/web"
NOT_UP_TO_10 = {"1.8": False, "1.10": False, "1.16": True, "1.22": True}


async def authorized(caller: Caller, uri: str) -> bool:
    body = {"Target": "db", "ClientCertURI": CLIENT.format(uri)}
    verdict = await caller("POST", "/v1/agent/connect/authorize", body)
    return bool(verdict["Authorized"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("source", ["web", "*"])
async def test_client_of_another_namespace_is_not_that_of_the_intention(
    session: aiohttp.ClientSession, version: Version, source: str
) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        intention = {"SourceName": source, "DestinationName": "db", "Action": "allow"}
        await manager("POST", "/v1/connect/intentions", intention)
        assert await authorized(manager, "ns/default/")
        for namespace in ("other", "Default", "*", "default%20"):
            assert not await authorized(manager, f"ns/{namespace}/")
        body = {"Target": "db", "ClientCertURI": CLIENT.format("ns/%zz/")}
        assert "Connect identifier" in await manager("POST", "/v1/agent/connect/authorize", body, 400)


@pytest.mark.parametrize("version", VERSIONS)
async def test_no_default_policy_gives_rights_to_the_acls(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True, default_policy="allow") as agent:
        nobody = Caller(session, agent)
        for path in ("tokens", "policies", "roles"):
            assert "Permission denied" in await nobody("GET", f"/v1/acl/{path}", status=403)
        body = {"Policies": [{"Name": "global-management"}]}
        assert "Permission denied" in await nobody("PUT", "/v1/acl/token", body, 403)
        assert await nobody("GET", "/v1/connect/ca/configuration")
        assert await nobody("GET", "/v1/agent/self")


@pytest.mark.parametrize("version", VERSIONS)
async def test_writing_mesh_entries_takes_the_right_of_the_version(
    session: aiohttp.ClientSession, version: Version
) -> None:
    entry = {"Kind": "proxy-defaults", "Name": "global"}
    async with Agent(version, acl=True) as agent:
        mesh = await made(session, agent, 'mesh = "write"')
        await mesh("PUT", "/v1/config", entry, 200 if NOT_UP_TO_10[version] else 403)
        operator = await made(session, agent, 'operator = "write"')
        await operator("PUT", "/v1/config", entry)


@pytest.mark.parametrize("version", VERSIONS)
async def test_list_of_services_takes_rights_on_their_node_in_the_newest(
    session: aiohttp.ClientSession, version: Version
) -> None:
    async with Agent(version, acl=True) as agent:
        await Caller(session, agent, agent.management_token)("PUT", REGISTER, SIDECAR)
        reader = await made(session, agent, 'service "web" { policy = "read" }')
        assert await reader("GET", "/v1/catalog/services") == ({} if version == "1.22" else {"web": ["a"]})


@pytest.mark.parametrize("version", VERSIONS)
async def test_token_with_the_identity_of_a_service_registers_it_and_its_sidecar(
    session: aiohttp.ClientSession, version: Version
) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        identity = {"ServiceIdentities": [{"ServiceName": "web"}]}
        role = await manager("PUT", "/v1/acl/role", {"Name": "r", **identity})
        for body in (identity, {"Roles": [{"ID": role["ID"]}]}, {"Roles": [{"Name": "r"}]}):
            token = await manager("PUT", "/v1/acl/token", body)
            holder = Caller(session, agent, token["SecretID"])
            await holder("PUT", REGISTER, SIDECAR)
            await holder("PUT", REGISTER, {"Name": "db"}, 403)
            assert len(await holder("GET", "/v1/health/connect/web")) == 1
        elsewhere = {"ServiceIdentities": [{"ServiceName": "web", "Datacenters": ["dc2"]}]}
        token = await manager("PUT", "/v1/acl/token", elsewhere)
        await Caller(session, agent, token["SecretID"])("PUT", REGISTER, SIDECAR, 403)
        token = await manager("PUT", "/v1/acl/token", {"Roles": [{"Name": "r"}]})
        await manager("DELETE", f"/v1/acl/role/{role['ID']}")
        await Caller(session, agent, token["SecretID"])("PUT", REGISTER, SIDECAR, 403)


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_an_agent_has_shown_can_be_sent_back(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        for kind, one in (("policy", {"Rules": 'acl = "read"'}), ("role", {"Policies": [{"Name": "p"}]})):
            made_first = await manager("PUT", f"/v1/acl/{kind}", {"Name": kind[0], "Description": "x", **one})
            again = await manager("PUT", f"/v1/acl/{kind}/{made_first['ID']}", made_first)
            assert {**again, "ModifyIndex": 0} == {**made_first, "ModifyIndex": 0}
            assert await manager("GET", f"/v1/acl/{kind}/name/{kind[0].upper()}") == again
        token = await manager("PUT", "/v1/acl/token", {"Roles": [{"Name": "r"}], "ExpirationTTL": "2h"})
        kept = {key: value for key, value in token.items() if key != "ExpirationTTL"}
        again = await manager("PUT", f"/v1/acl/token/{token['AccessorID']}", kept)
        assert {**again, "ModifyIndex": 0} == {**token, "ModifyIndex": 0}
        clone = await manager("PUT", f"/v1/acl/token/{token['AccessorID']}/clone", {"Description": "c"})
        assert clone["Roles"] == token["Roles"]
        assert clone["SecretID"] != token["SecretID"]
        reader = Caller(session, agent, clone["SecretID"])
        assert (await reader("GET", f"/v1/acl/token/{token['AccessorID']}"))["SecretID"] == "<hidden>"


@pytest.mark.parametrize("version", VERSIONS)
async def test_policy_for_another_datacenter_gives_nothing(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        policy = {"Name": "p", "Rules": 'operator = "write"', "Datacenters": ["dc2"]}
        identifier = (await manager("PUT", "/v1/acl/policy", policy))["ID"]
        token = await manager("PUT", "/v1/acl/token", {"Policies": [{"Name": "p"}]})
        holder = Caller(session, agent, token["SecretID"])
        await holder("GET", "/v1/connect/ca/configuration", status=403)
        await manager("PUT", f"/v1/acl/policy/{identifier}", {**policy, "Datacenters": ["dc2", "dc1"]})
        await holder("GET", "/v1/connect/ca/configuration")


async def test_rules_in_capitals_and_as_a_whole_are_understood(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        await manager("PUT", REGISTER, SIDECAR)
        for rules in (
            'SERVICE "web" { POLICY = "Read" }',
            'service = { "web" = { policy = "read" }, db = { policy = "write" } } # both',
            '{"service": [{"web": {"policy": "read"}}], "bogus": {"x": 1}}',
        ):
            reader = await made(session, agent, rules)
            assert list(await reader("GET", "/v1/agent/services")) == ["web"]
        refused = {"Name": "x", "Rules": 'service "web" { policy = "read"'}
        text = await manager("PUT", "/v1/acl/policy", refused, 500)
        assert text == "Failed to parse ACL rules: At 1:33: object expected closing RBRACE got: EOF"
