"""
`python -m benchmarks watch [PART …]`: what a watch costs, how soon it tells, and how soon it is right again.

The parts, each in the module that is named: latency, stream, chain (`watch_latency`), crowd and idle (`watch_crowd`),
lost and outages (`watch_recovery`), fleet (`watch_fleet`). All of them run where none is named.
"""

from __future__ import annotations

import sys

from benchmarks import watch_crowd, watch_fleet, watch_latency, watch_recovery

PARTS = {
    "latency": watch_latency.latency,
    "stream": watch_latency.stream,
    "chain": watch_latency.chain,
    "crowd": watch_crowd.crowd,
    "idle": watch_crowd.idle,
    "lost": watch_recovery.lost,
    "outages": watch_recovery.outages,
    "fleet": watch_fleet.fleet,
}


def main(names: list[str] | None = None) -> None:
    for name in names or PARTS:
        if name not in PARTS:
            sys.exit(f"benchmarks: {name!r} is no part of watch: {', '.join(PARTS)}")
        PARTS[name]()
