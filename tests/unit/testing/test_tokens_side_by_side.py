"""ACL policies and tokens: a long conversation with the box and a real 1.8 side by side."""

import json
import re

import aiohttp
import pytest
from support.agents import RealAgent
from support.side_by_side import Answer, Command, Side

from aioconsulconnect.testing import Agent

NOBODY = "11111111-2222-3333-4444-555555555555"
MANAGEMENT = "00000000-0000-0000-0000-000000000001"
ANONYMOUS = "00000000-0000-0000-0000-000000000002"
READ = 'service "a" { policy = "read" }'


def policy(name: str, rules: str) -> str:
    return json.dumps({"Name": name, "Rules": rules})


POLICIES = [
    *("{}", "null", "", "{", '{"Name": ""}', '{"Name": "a b"}', '{"Name": 7}', '{"Bogus": 1}'),
    *(json.dumps({"ID": NOBODY, "Name": "x"}), policy("x1", "{}"), policy("x2", 'service "a" {}')),
    *(policy("x3", 'service "a" { policy = "x" }'), policy("x4", 'key "a" { policy = "list" }')),
    *(policy("x5", 'service "a" { policy = "read" intentions = "x" }'), policy("x6", 'operator = "x"')),
    *(policy("x7", 'bogus "a" { policy = "read" }'), policy("x8", 'mesh = "read"')),
    *(
        policy("x9", 'service a { policy = "read" }'),
        policy("x10", 'service "a" { policy = "read", intentions = "read" }'),
    ),
    *(policy("x11", '{"service": {"a": {"policy": "read"}}, "operator": "read"}'), policy("x12", "# nothing\n")),
    policy("x13", '{"service": [{"a": {"policy": "read"}}]}'),
    *(policy("x14", 'service "a" { policy = read }'), policy("x15", 'key "a" { policy = "read" }\noperator = read')),
    *(
        policy(f"y-{resource}", f'{resource} "a" {{ policy = "list" }}')
        for plain in ("agent", "event", "key", "node", "query", "service", "session")
        for resource in (plain, f"{plain}_prefix")
    ),
    *(policy(f"z-{resource}", f'{resource} = "list"') for resource in ("acl", "keyring", "operator", "mesh")),
    policy("x16", 'service_prefix "" { policy = "read" intentions = "list" }'),
]
TOKENS = [
    *("{}", "null", "", "{", '{"Policies": [{"Name": "nope"}]}', json.dumps({"Policies": [{"ID": NOBODY}]})),
    *(
        '{"Policies": [{}]}',
        '{"AccessorID": "x"}',
        '{"SecretID": "x"}',
        '{"Bogus": 1}',
        '{"Local": true}',
        '{"Roles": []}',
    ),
    *(f'{{"AccessorID": "2{NOBODY[1:]}", "SecretID": "3{NOBODY[1:]}"}}', f'{{"AccessorID": "2{NOBODY[1:]}"}}'),
    *(f'{{"SecretID": "3{NOBODY[1:]}"}}', '{"Description": 7}'),
]
# (method, path, body, whose token): $p, $t and $s stand for the policy, the token and its secret that were made last.
Step = tuple[str, str, str | None, str | None]
CONVERSATION: list[Step] = [
    *(("PUT", "/v1/acl/policy", body, None) for body in POLICIES),
    ("PUT", "/v1/acl/policy", policy("p", READ), None),
    ("PUT", "/v1/acl/policy", policy("p", READ), None),
    ("GET", "/v1/acl/policy/$p", None, None),
    ("PUT", "/v1/acl/policy/$p", policy("p", 'operator = "read"'), None),
    ("PUT", "/v1/acl/policy/$p", json.dumps({"ID": NOBODY, "Name": "p"}), None),
    *(("PUT", f"/v1/acl/policy/{name}", policy("q", ""), None) for name in (NOBODY, "nope", MANAGEMENT)),
    *(("GET", f"/v1/acl/policy/{name}", None, None) for name in (NOBODY, "nope", "")),
    *(("DELETE", f"/v1/acl/policy/{name}", None, None) for name in (NOBODY, "nope", "", MANAGEMENT)),
    *(("PUT", "/v1/acl/token", body, None) for body in TOKENS),
    ("PUT", "/v1/acl/token", '{"Policies": [{"Name": "p"}, {"ID": "$p"}]}', None),
    *(("GET", f"/v1/acl/token/{name}", None, None) for name in ("$t", "self", NOBODY, "nope", "")),
    *(("GET", "/v1/acl/token/self", None, whose) for whose in ("$s", "", NOBODY)),
    ("PUT", "/v1/acl/token/$t", '{"Description": "new", "Policies": []}', None),
    ("PUT", "/v1/acl/token/$t", json.dumps({"AccessorID": NOBODY}), None),
    ("PUT", "/v1/acl/token/$t", json.dumps({"SecretID": NOBODY}), None),
    *(("PUT", f"/v1/acl/token/{name}", "{}", None) for name in (NOBODY, "nope")),
    *(("GET", path, None, "$s") for path in ("/v1/acl/policies", "/v1/acl/tokens", "/v1/acl/token/$t")),
    *(("PUT", "/v1/acl/policy", policy("z", ""), whose) for whose in ("$s", "")),
    *(("DELETE", f"/v1/acl/token/{name}", None, None) for name in ("$t", "$t", "nope", "", ANONYMOUS)),
    ("PUT", f"/v1/acl/token/{ANONYMOUS}", '{"Policies": [{"Name": "p"}]}', None),
    ("GET", "/v1/connect/ca/configuration", None, ""),
    ("DELETE", "/v1/acl/policy/$p", None, None),
    ("GET", f"/v1/acl/token/{ANONYMOUS}", None, None),
    *(
        (method, f"/v1/acl/{path}", None, None)
        for method in ("HEAD", "PATCH", "OPTIONS", "DELETE", "POST")
        for path in ("policies", "tokens", "token/self", "policy", "token")
    ),
]


class Speaker:
    """One side of the conversation, with what its own ids are."""

    def __init__(self, url: str, token: str) -> None:
        self.side = Side(url, token)
        self.token = token
        self.names: dict[str, str] = {}

    def say(self, step: Step) -> Answer:
        method, path, body, whose = step
        self.side.token = self.token if whose is None else self._own(whose)
        answer = self.side.send(Command(method, self._own(path), None if body is None else self._own(body)))
        if method == "PUT" and answer.status == 200:
            made = json.loads(self.side.text)
            if "AccessorID" in made and "Policies" in made:
                self.names |= {"$t": made["AccessorID"], "$s": made["SecretID"]}
            elif "ID" in made:
                self.names["$p"] = made["ID"]
        return answer

    def _own(self, text: str) -> str:
        return re.sub(r"\$[pts]", lambda name: self.names[name[0]], text)


def test_policies_and_tokens_are_kept_alike(guarded: RealAgent) -> None:
    box = Agent("1.8", acl=True)
    box.start()
    speakers = Speaker(box.url, box.management_token), Speaker(guarded.url, guarded.token)
    try:
        for step in CONVERSATION:
            ours, theirs = (speaker.say(step) for speaker in speakers)
            assert ours == theirs, step
    finally:
        for speaker in speakers:
            speaker.side.connection.close()
        box.stop()


@pytest.mark.parametrize("unmodelled", ["TemplatedPolicies"])
async def test_token_with_an_unmodelled_field_is_answered_501_that_names_it(unmodelled: str) -> None:
    async with Agent(acl=True) as agent, aiohttp.ClientSession() as session:
        headers = {"X-Consul-Token": agent.management_token}
        async with session.put(f"{agent.url}/v1/acl/token", json={unmodelled: ["x"]}, headers=headers) as response:
            assert response.status == 501
            assert unmodelled in await response.text()
