"""Requests that nobody of the project wrote, replayed: what Consul refuses is refused, and what it takes is taken.

A write that only one side accepts leaves another state behind: each recording is replayed in order, as a whole.
"""

import asyncio

import pytest
from support.in_process_known_differences import KNOWN_OF_SAMPLES
from support.replay import RELEASES, Replay

SAMPLES = ("services", "entries")
MOST_DIFFERENCES = {"1.8": 6, "1.10": 6, "1.16": 10, "1.22": 10}
EACH = [pytest.param(sample, version, id=f"{sample}-{version}") for sample in SAMPLES for version in RELEASES]
Replays = dict[tuple[str, str], Replay]


@pytest.fixture(scope="module")
def replays() -> Replays:
    """All recordings at once."""

    async def run() -> list[Replay]:
        each = [Replay(version, sample, node="box") for sample in SAMPLES for version in RELEASES]
        return list(await asyncio.gather(*(replay.run() for replay in each)))

    return {(replay.recording, replay.version): replay for replay in asyncio.run(run())}


@pytest.mark.parametrize(("sample", "version"), EACH)
def test_no_write_that_consul_refused_is_accepted(replays: Replays, sample: str, version: str) -> None:
    assert not replays[sample, version].lies


@pytest.mark.parametrize(("sample", "version"), EACH)
def test_no_write_that_consul_accepted_is_refused_but_as_not_modelled(
    replays: Replays, sample: str, version: str
) -> None:
    assert not replays[sample, version].refusals


@pytest.mark.parametrize(("sample", "version"), EACH)
def test_what_differs_is_known_and_has_its_reason(replays: Replays, sample: str, version: str) -> None:
    found, known = replays[sample, version].all_differences(), KNOWN_OF_SAMPLES[sample].get(version, {})
    unexpected = {name: what for name, what in found.items() if name not in known}
    assert not unexpected, "\n".join(f"{name}: {what}" for name, what in unexpected.items())
    assert not known.keys() - found.keys(), "differences that are none any more"


@pytest.mark.parametrize(("sample", "version"), EACH)
def test_few_answers_differ(replays: Replays, sample: str, version: str) -> None:
    replay = replays[sample, version]
    assert len(replay.all_differences()) <= MOST_DIFFERENCES[version], [*replay.all_differences()]
    assert replay.compared >= 180, "nearly all of the recording is compared"
