"""Each recording, sent to the in-process agent in order, gives what the real agent of that version gave."""

import asyncio

import pytest
from support.in_process_known_differences import KNOWN
from support.replay import RELEASES, Replay


@pytest.fixture(scope="module")
def replays() -> dict[str, Replay]:
    """All recordings at once: most of the time they wait."""

    async def run() -> list[Replay]:
        return list(await asyncio.gather(*(Replay(version).run() for version in RELEASES)))

    return {replay.version: replay for replay in asyncio.run(run())}


@pytest.mark.parametrize("version", RELEASES)
def test_the_agent_answers_as_recorded(replays: dict[str, Replay], version: str) -> None:
    replay = replays[version]
    known = KNOWN[version]
    unexpected = {where: found for where, found in replay.differences.items() if where not in known}
    assert not unexpected, "\n".join(f"{where}: {found}" for where, found in unexpected.items())
    assert not {where for where in known if where not in replay.differences}, "differences that are none any more"


@pytest.mark.parametrize("version", RELEASES)
def test_no_known_difference_is_one_of_status_null_or_blocking(replays: dict[str, Replay], version: str) -> None:
    grave = ("status", "null", "blocking")
    assert not [found for each in replays[version].differences.values() for found in each if found.startswith(grave)]


@pytest.mark.parametrize("version", RELEASES)
def test_nearly_all_of_a_recording_is_compared(replays: dict[str, Replay], version: str) -> None:
    # The rest are prepared queries and the token of a peering, which the in-process agent does not model and says so.
    assert replays[version].compared >= 243
