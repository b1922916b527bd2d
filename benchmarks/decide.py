"""
`python -m benchmarks decide [PART …]`: what a decision in the process costs, and how soon it follows a change.

The parts, each in the module that is named: one, many, requests (`decide_table`), peers (`decide_peers`), live
(`decide_live`), refresh (`decide_refresh`). All of them run where none is named. "Wanted" is the requirement; nothing
fails where a figure is worse.
"""

from __future__ import annotations

import sys

from benchmarks import decide_live, decide_peers, decide_refresh, decide_table

PARTS = {
    "one": decide_table.one,
    "many": decide_table.many,
    "requests": decide_table.requests,
    "peers": decide_peers.peers,
    "live": decide_live.live,
    "refresh": decide_refresh.refresh,
}


def main(names: list[str] | None = None) -> None:
    for name in names or PARTS:
        if name not in PARTS:
            sys.exit(f"benchmarks: {name!r} is no part of decide: {', '.join(PARTS)}")
        PARTS[name]()
