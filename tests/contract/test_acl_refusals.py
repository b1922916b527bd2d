"""Refusals of policies, roles and tokens, in Consul's words on every version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession
from support.agents_under_test import GuardedAgent

UNKNOWN = "AAAAAAAA-1111-1111-1111-111111111111"
NOT_A_UUID = "failed acl policy lookup: index error: UUID must be 36 characters"
Put = Callable[[str, object], Awaitable[tuple[int, str]]]


@pytest.fixture
async def put(guarded: GuardedAgent) -> AsyncIterator[Put]:
    """A function that writes with the management token, and leaves out the words with which older versions begin."""
    async with ClientSession(guarded.url, headers={"X-Consul-Token": guarded.management}) as session:

        async def put(kind: str, body: object) -> tuple[int, str]:
            sent = {"data": body} if isinstance(body, str) else {"json": body}
            async with session.put(f"/v1/acl/{kind}", **sent) as answer:
                return answer.status, (await answer.text()).removeprefix("Bad request: ")

        yield put


async def test_ids_of_a_role_are_looked_up_where_it_is_written(put: Put, guarded: GuardedAgent, unique: str) -> None:
    prefix = "Failed to apply role upsert request: " if guarded.version > (1, 9) else ""
    alphabet = "lowercase alphanumeric" if guarded.version > (1, 10) else "alphanumeric"
    invalid = f"Service identity \"A\" has an invalid name. Only {alphabet} characters, '-' and '_' are allowed"
    for links, words in (
        ([{"ID": "nope"}], prefix + NOT_A_UUID),
        ([{"ID": UNKNOWN, "Name": "other"}], f"{prefix}No such policy with ID: {UNKNOWN}"),
        ([{"ID": "nope"}, {"Name": "other"}], 'No such ACL policy with name "other"'),
    ):
        assert await put("role", {"Name": unique, "Policies": links}) == (500, words)
    wrong = {"Name": unique, "Policies": [{"ID": "nope"}], "ServiceIdentities": [{"ServiceName": "A"}]}
    assert await put("role", wrong) == (500, invalid)


@pytest.mark.parametrize(
    ("kind", "body", "where"),
    [
        ("role", {"Policies": ["pa"]}, "string|Alias.Policies|structs.ACLRolePolicyLink"),
        ("role", {"Policies": {}}, "object|Alias.Policies|[]structs.ACLRolePolicyLink"),
        ("token", {"Policies": ["pa"]}, "string|Alias.Policies|structs.ACLTokenPolicyLink"),
        ("policy", {"Hash": 5}, "number|Hash|string"),
        ("role", {"hash": []}, "array|Hash|string"),
        ("token", {"CreateIndex": "5"}, "string|Alias.RaftIndex.CreateIndex|uint64"),
        ("policy", {"ModifyIndex": True}, "bool|Alias.RaftIndex.ModifyIndex|uint64"),
        ("policy", {"Rules": 5}, "number|Alias.Rules|string"),
    ],
)
async def test_errors_name_the_struct_that_go_has_a_member_in(
    put: Put, guarded: GuardedAgent, kind: str, body: object, where: str
) -> None:
    found, place, wanted = where.split("|")
    path = place if guarded.version > (1, 9) else place.rpartition(".")[2]
    words = f"json: cannot unmarshal {found} into Go struct field .{path} of type {wanted}"
    assert await put(kind, body) == (400, f"{kind.capitalize()} decoding failed: {words}")


async def test_body_of_bootstrap_is_read_where_it_may_have_one(put: Put, guarded: GuardedAgent) -> None:
    late = "Permission denied: ACL bootstrap no longer allowed"
    for body, words in (
        ("{", "Request decoding failed: unexpected EOF"),
        ("[]", "Request decoding failed: json: cannot unmarshal array into Go value of type api.BootstrapRequest"),
        ({"Foo": 1}, 'Request decoding failed: json: unknown field "Foo"'),
        ({"BootstrapSecret": "zz"}, late),
        ("", late),
    ):
        status, text = await put("bootstrap", body)
        told = words if guarded.version > (1, 10) else late
        assert (status, text[: len(told)]) == (403 if told == late else 400, told)


@pytest.mark.parametrize(
    ("rules", "at"),
    [("[1,2", 18), ("[1", 16), ("[-1", 17), ("[0", 15), ("[1,2 ", 17), ('["a"', 16), ("[1.5", 17)],
)
async def test_end_of_rules_within_a_list(put: Put, unique: str, rules: str, at: int) -> None:
    status, text = await put("policy", {"Name": unique, "Rules": f"operator = {rules}"})
    assert (status, text.split(":")[:3]) == (500, ["Failed to parse ACL rules", " At 1", str(at)]), text


async def test_missing_role_of_an_old_version_says_nothing(guarded: GuardedAgent) -> None:
    async with ClientSession(guarded.url, headers={"X-Consul-Token": guarded.management}) as session:
        for path in ("name/none", UNKNOWN):
            async with session.get(f"/v1/acl/role/{path}") as answer:
                assert answer.status == 404
                assert ("Content-Type" in answer.headers) == (guarded.version > (1, 10)) == bool(await answer.text())
