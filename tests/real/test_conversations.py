"""Conversations of many requests, had with the in-process agent and with a real one of the same version.

Each request is a good one, or nearly so with a single thing odd. The in-process agent may say that it does not model
something (501), and the real one is then not asked. Whatever else it answers must be what the real one answers: no
write is accepted by one alone, refusals have the same words, and what both hold in the end looks the same.

With `CONVERSATIONS=2000` in the environment there are so many of each subject, and others each time.
"""

import os
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from support import acl_bodies, entry_bodies, identity_bodies, read_bodies, service_bodies, watched_writes
from support.agents import Binary, Launcher
from support.conversations import Pair, Step, Subject
from support.conversations_known import expected
from support.versions import VERSIONS

from aioconsulconnect.testing import Version

MANY = int(os.environ.get("CONVERSATIONS", "0"))

SUBJECTS = ("entries", "services", "reads", "rights", "identities", "guarded-identities", "watched-writes")


class About(NamedTuple):
    """A subject, the requests about it, and how many conversations about it there are."""

    subject: Subject
    steps: st.SearchStrategy[list[Step]]
    conversations: int


def about(name: str, version: Version) -> About:
    match name:
        case "entries":
            return About(entry_bodies.Entries(version), entry_bodies.steps(version), 180)
        case "services":
            return About(service_bodies.Services(version), service_bodies.steps(version), 120)
        case "reads":
            return About(read_bodies.Reads(version), read_bodies.steps(version), 60)
        case "watched-writes":  # each write is waited for, so there are few
            return About(watched_writes.Waking(version), watched_writes.steps(version), 6)
        case "rights":
            return About(acl_bodies.Rights(version), acl_bodies.steps(version), 100)
        case _:
            guarded = name == "guarded-identities"
            return About(identity_bodies.Identities(version, acl=guarded), identity_bodies.steps(version), 60)


def played(binary: Binary) -> Version:
    """The version that plays this binary."""
    found: list[Any] = [version for version in VERSIONS if f"{binary}.".startswith(f"{version}.")]
    if not found:
        pytest.skip(f"no in-process agent plays {binary}")
    version: Version = found[0]
    return version


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_conversation_goes_as_with_a_real_agent(
    real_binary: Binary, own_agent: Launcher, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    version = played(real_binary)
    topic = about(name, version)
    known = expected(name, version)
    kind = watched_writes.WatchedPair if name == "watched-writes" else Pair
    pair = kind(own_agent.launch(acl=topic.subject.acl), version, topic.subject, known)

    @settings(
        max_examples=MANY or topic.conversations,
        derandomize=not MANY,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # what is found is kept, and made smaller by the pair
    )
    @given(topic.steps)
    def explore(steps: list[Step]) -> None:
        pair.explore(steps)

    explore()
    with capsys.disabled():
        sys.stdout.write(f"\n{pair.summary()}\n")
    assert not pair.unknown, "\n".join(str(finding) for finding in pair.unknown)
    if not MANY:
        assert not pair.unseen(), "differences that are none any more"
