"""The in-process agent and real ones with ACLs, side by side, under both default policies."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from support.agents import Binary, binaries, known
from support.guarded import SETS, Guarded, Talk, authorized, in_process, intend, read, real_agent
from support.guarded_requests import (
    EXACT_INTENTIONS,
    FEW,
    INTENTIONS,
    ODD_INTENTIONS,
    READS,
    RULES,
    SETUP,
    WRITES,
    Request,
    comparable,
)
from support.side_by_side import running
from support.versions import VERSIONS

from aioconsulconnect.testing import Version

PLAYED: dict[str, Version] = {version: version for version in VERSIONS}
REAL = [binary for binary in binaries() if f"{binary.version[0]}.{binary.version[1]}" in PLAYED]
PLAYERS: list[Binary | None] = [*REAL] or [None]
PAIRS = [(binary, policy) for binary in PLAYERS for policy in ("deny", "allow")]
CLIENT = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web"
STRANGERS = {"none": "", "unknown": "11111111-2222-3333-4444-555555555555", "anonymous": "anonymous"}


class Pair(NamedTuple):
    version: Version
    ours: Guarded
    theirs: Guarded


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: " ".join(map(str, pair)))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both agents, new and empty: what follows keeps to its order."""
    binary, policy = request.param
    binary = known(binary)
    version = PLAYED[f"{binary.version[0]}.{binary.version[1]}"]
    folder = tmp_path_factory.mktemp("guarded")
    for real in running(real_agent(binary, folder, policy)):
        with in_process(version, policy) as ours:
            theirs = Guarded(real.url, real.token)
            yield Pair(version, ours, theirs)
            theirs.connection.close()


def cataloged(side: Guarded) -> list[int]:
    """How much of what was registered has arrived in the catalog."""
    paths = ("/v1/catalog/services", "/v1/health/checks/web", "/v1/health/service/web-sidecar-proxy")
    return [len(side.value("GET", path)) for path in paths]


def settle(pair: Pair, ask: Callable[[Guarded], object]) -> None:
    """Wait until both agents answer alike, or not for ever."""
    deadline = time.monotonic() + 5
    while ask(pair.ours) != ask(pair.theirs) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("conversation", ["tokens", "roles"])
def test_policies_roles_and_tokens_are_kept_alike(pair: Pair, conversation: str) -> None:
    talks = Talk(pair.ours), Talk(pair.theirs)
    for step in read(conversation):
        ours, theirs = (talk.say(step) for talk in talks)
        assert ours == theirs, step
    for side in pair[1:]:
        side.empty()


@pytest.mark.parametrize("intentions", SETS)
def test_identities_are_judged_alike(pair: Pair, intentions: str) -> None:
    for side in pair[1:]:
        intend(side, intentions)
    settle(pair, lambda side: authorized(side, CLIENT))  # a real one answers from a cache that follows
    for row in read("identities"):
        ours, theirs = (authorized(side, row["uri"]) for side in pair[1:])
        assert ours == theirs, row["uri"]
    for side in pair[1:]:
        side.empty()


def test_odd_intentions_are_refused_alike(pair: Pair) -> None:
    body = {"SourceName": "a", "DestinationName": "b", "Action": "allow"}
    made = [side.value("POST", "/v1/connect/intentions", body)["ID"] for side in pair[1:]]
    for request in [*ODD_INTENTIONS, *(EXACT_INTENTIONS if pair.version != "1.8" else [])]:
        ours, theirs = (
            comparable(request, side.ask(request.method, request.path.replace("{0}", own), request.body))
            for side, own in zip(pair[1:], made, strict=True)
        )
        assert ours == theirs, f"{request.method} {request.path} {json.dumps(request.body)}"
    for side in pair[1:]:
        side.empty()


def judge_alike(pair: Pair, names: tuple[str, ...]) -> None:
    made: list[list[str]] = []
    secrets: list[dict[str, str]] = []
    for side in pair[1:]:
        for each in SETUP:
            side.ask(*each)
        bodies = [dict(zip(("SourceName", "DestinationName", "Action"), each, strict=True)) for each in INTENTIONS]
        made.append([side.value("POST", "/v1/connect/intentions", body)["ID"] for body in bodies])
        secrets.append({**STRANGERS, "management": side.token})
        for name in names:
            policy = f"{name}-{uuid.uuid4().hex}"  # a real one mixes up the rules of policies that are alike
            side.value("PUT", "/v1/acl/policy", {"Name": policy, "Rules": RULES[name]})
            token = {"Description": name, "Policies": [{"Name": policy}]}
            secrets[-1][name] = side.value("PUT", "/v1/acl/token", token)["SecretID"]
    settle(pair, cataloged)  # a real one writes to its catalog later
    for name in secrets[0]:
        leaf = f"/v1/agent/connect/ca/leaf/{uuid.uuid4().hex}"  # a real one shows to all what it once fetched for one
        leaves = [Request("GET", path) for path in (leaf, f"{leaf}?dc=mars", "/v1/agent/connect/ca/leaf/")]
        for request in [*READS, *WRITES, *leaves]:
            answers: list[tuple[object, ...]] = []
            for side, own, ids in zip(pair[1:], secrets, made, strict=True):
                path = re.sub(r"\{(\d)\}", r"{0[\1]}", request.path).format(ids)
                answer = side.ask(request.method, path, request.body, own[name])
                answers.append(comparable(request, answer._replace(text=re.sub("-[0-9a-f]{32}", "", answer.text))))
            assert answers[0] == answers[1], f"{name}: {request.method} {request.path} {json.dumps(request.body)}"
    for side in pair[1:]:
        side.empty()


def test_some_tokens_see_and_may_the_same(pair: Pair) -> None:
    judge_alike(pair, FEW)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_tokens_see_and_may_the_same(pair: Pair) -> None:
    judge_alike(pair, tuple(RULES))
