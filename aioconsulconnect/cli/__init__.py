"""The command line: thin. Arguments in, text out, exit status 0 or 1."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from aioconsulconnect.cli.demo import demo
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    asked = _parser().parse_args(arguments)
    try:
        asyncio.run(demo(address=asked.address, consul=asked.consul, rotate=asked.rotate))
    except ConsulError as error:
        print(f"aioconsulconnect: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aioconsulconnect", description="Consul's service mesh from asyncio.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser(
        "demo",
        help="write intentions, watch them change, rotate a root",
        description="Write intentions and watch them arrive, ask for decisions, and rotate a root certificate: on an"
        " agent inside this process, unless told otherwise. The token and all else comes from the CONSUL_* variables.",
    )
    where = show.add_mutually_exclusive_group()
    where.add_argument("--address", metavar="URL", help="an agent that runs; nothing is left behind on it")
    where.add_argument(
        "--consul",
        metavar="BINARY",
        nargs="?",
        const="",
        help="a throw-away agent of a real Consul: this binary, else what CONSUL_BINARIES, PATH or .consul/ hold",
    )
    show.add_argument("--rotate", action="store_true", help="with --address: rotate the root there as well")
    return parser
