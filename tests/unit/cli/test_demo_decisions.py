"""What the demonstration shows of decisions: those in the process beside the agent's, and how long both take."""

from __future__ import annotations

import asyncio
import re
from importlib import import_module

import pytest
from support.agents import RealAgent
from support.agents_under_test import GuardedAgent
from support.versions import VERSIONS

from aioconsulconnect.cli import main
from aioconsulconnect.testing import Agent, Version

AUTHORIZE = "/v1/agent/connect/authorize"


async def shown(url: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What it prints on this agent, where it has to end well."""
    status = await asyncio.to_thread(main, ["demo", "--address", url])
    out, error = capsys.readouterr()
    assert (status, error) == (0, "")
    assert out.endswith("Done; nothing is left behind.\n")
    return out


def decided(out: str) -> list[tuple[str, str]]:
    """Who decided what, in this order."""
    return re.findall(r"^  (here|agent) +(yes|no)\b", out, re.MULTILINE)


BOTH = [("here", "yes"), ("agent", "yes"), ("here", "no"), ("agent", "no")]


def times(out: str) -> tuple[float, float]:
    """Seconds of a decision and of a call."""
    found = re.search(r"^  times   (\S+) us here, (\S+) ms to ask the agent \(medians of 25\)$", out, re.MULTILINE)
    assert found is not None
    return float(found[1]) / 1e6, float(found[2]) / 1e3


@pytest.mark.parametrize("version", VERSIONS)
async def test_decisions_are_those_of_the_agent_and_sooner(
    version: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Agent(version) as agent:
        out = await shown(agent.url, capsys)
    assert decided(out) == BOTH
    here, there = times(out)
    assert 0 < here < there


async def test_decisions_are_those_of_a_real_agent_and_sooner(
    real_agent: RealAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    out = await shown(real_agent.url, capsys)
    assert decided(out) == BOTH
    here, there = times(out)
    assert 0 < here < there


@pytest.mark.slow
async def test_agent_that_goes_on_to_say_something_else_is_shown_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("aioconsulconnect.cli.demo"), "_PATIENCE", 1.0)
    async with Agent() as agent:
        agent.faults.garbage(b'{"Authorized": true, "Reason": "a lie"}', path=AUTHORIZE)
        out = await shown(agent.url, capsys)
    assert decided(out) == [*BOTH[:3], ("agent", "yes")]


async def test_agent_that_is_a_moment_behind_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    async with Agent() as agent:
        agent.faults.garbage(b'{"Authorized": false, "Reason": "an old answer"}', path=AUTHORIZE, times=3)
        out = await shown(agent.url, capsys)
    assert decided(out) == BOTH


async def test_token_that_may_not_ask_the_agent_is_told_what_it_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Agent(acl=True) as agent:
        guarded = GuardedAgent(agent.url, (1, 22), "agent", agent.management_token)
        token = await guarded.token('service_prefix "demo-" { policy = "read", intentions = "write" }')
        monkeypatch.setenv("CONSUL_HTTP_TOKEN", token)
        out = await shown(agent.url, capsys)
        assert agent.store.intentions == []
    assert decided(out) == BOTH[:1]
    assert "  agent   it does not tell: the token needs service:write on demo-db-" in out
