"""Which write wakes which blocking query, and with what index: every pair, on every agent there is.

The in-process agents are compared with stored tables of real ones, and the real ones that are there with the same
tables.
"""

from __future__ import annotations

import pytest
from support.agents import Binary
from support.versions import VERSIONS
from support.waking_rounds import Table, differences, in_process, real, stored

from aioconsulconnect.testing import Version

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_UNMODELLED = {
    ("register a second instance", query): "the first registration behind a gateway fills in ServiceKind (1.16 on)"
    for query in (
        "connect nobody",
        "connect web",
        "gateway-services entrance",
        "gateway-services exit",
        "gateway-services nobody",
        "gateway-services side",
        "health connect nobody near",
        "health connect web near",
        "ingress web",
    )
}
# Chains of 1.10 do not show what these writes change, as in 1.8; and 1.10 keeps quiet then, as later versions do.
_BETWEEN = {
    "defaults of web / chain web",
    "defaults of web / chain web cached",
    "proxy defaults / chain db",
    "proxy defaults / chain nobody",
}


def _modelled(table: Table) -> Table:
    """A table without the pairs in which the in-process agent is known to differ."""
    return {w: {q: cell for q, cell in row.items() if (w, q) not in _UNMODELLED} for w, row in table.items()}


@pytest.mark.parametrize("version", VERSIONS)
async def test_in_process_agent_wakes_as_a_real_one(version: Version) -> None:
    at = VERSIONS.index(version)
    table = _modelled(await in_process(version))
    # A version without a table lies between two others, and does what one of them does.
    names = [version] if stored(version) is not None else [VERSIONS[at - 1], VERSIONS[at + 1]]
    expected = [_modelled(known) for name in names if (known := stored(name)) is not None]
    assert len(expected) == len(names)
    both = [set(differences(table, each, named=False)) for each in expected]
    assert set.intersection(*both) == (set() if len(both) == 1 else _BETWEEN), differences(table, expected[-1])


async def test_real_agent_wakes_as_stored(real_binary: Binary) -> None:
    version = next((each for each in VERSIONS if each == ".".join(map(str, real_binary.version))), None)
    if version is None:
        pytest.skip(f"there is neither a table nor an in-process agent of {real_binary.full}")
    table, known = await real(real_binary), stored(version)
    found = differences(table, known) if known else differences(_modelled(table), _modelled(await in_process(version)))
    assert found == []
