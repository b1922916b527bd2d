"""
Makes Consul's intentions what a file says: plans, prints the plan, applies it.

    python gitops.py intentions.json [--prune] [--partial] [--dry-run]

The file holds `service-intentions` entries as Consul writes them, one for each destination:
`[{"Kind": "service-intentions", "Name": "db", "Sources": [{"Name": "web", "Action": "allow"}]}]`.
Destinations that it does not name are left alone, unless `--prune` removes their intentions. A token that does not see
all that the job is about fails before anything is written, unless `--partial` says that it manages what it sees.

Exit code: 0 nothing to do, 1 failed or (`--dry-run`) would fail (what was applied before is said; run it again), 2
usage, 3 changed, or with `--dry-run` to be changed. Needs a token with `intentions:write` and `service:read` on every
destination, and Consul 1.9 (`--prune`: 1.11).
"""

import argparse
import asyncio
import sys
from pathlib import Path

from aioconsulconnect import Consul, ConsulError
from aioconsulconnect.structs import ServiceIntentions, read_entries

UNCHANGED, FAILED, CHANGED = 0, 1, 3


def read(content: bytes, *, prune: bool) -> list[ServiceIntentions]:
    """What is desired; ValueError for what a job had better not do."""
    entries = read_entries(content)
    desired = [entry for entry in entries if isinstance(entry, ServiceIntentions)]
    if others := {entry.kind for entry in entries} - {"service-intentions"}:
        raise ValueError(f"only service-intentions belong here, not {', '.join(sorted(others))}")
    if prune and not desired:
        raise ValueError("an empty file with --prune would remove every intention")
    return desired


async def run(content: bytes, *, prune: bool = False, partial: bool = False, dry_run: bool = False) -> int:
    """Plan, print, apply; the exit code."""
    try:
        desired = read(content, prune=prune)
        async with Consul() as consul:
            plan = await consul.intentions.plan(desired, prune=prune)
            print(plan)  # "nothing to do", or a line for each intention; "!" and "?" for what is in the way or unsure
            if dry_run:
                plan.check(partial=partial)
            else:
                await plan.apply(partial=partial)  # check-and-set: a change made since the plan is a Conflict
    except (ConsulError, ValueError) as error:
        print(f"failed: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return FAILED
    return CHANGED if plan else UNCHANGED


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make Consul's intentions what a file says.")
    parser.add_argument("file", type=Path, help="a JSON array of service-intentions entries")
    parser.add_argument("--prune", action="store_true", help="remove the intentions of destinations not in the file")
    parser.add_argument("--partial", action="store_true", help="go on with a token that does not see everything")
    parser.add_argument("--dry-run", action="store_true", help="print the plan alone")
    given = parser.parse_args()
    try:
        content = given.file.read_bytes()
    except OSError as error:
        parser.error(str(error))
    return asyncio.run(run(content, prune=given.prune, partial=given.partial, dry_run=given.dry_run))


if __name__ == "__main__":
    sys.exit(main())
