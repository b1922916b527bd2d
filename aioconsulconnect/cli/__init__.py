"""
Command line of the library: `aioconsulconnect` and `python -m aioconsulconnect`.

Exit status: 0 for success, 1 for a failure, 2 for wrong arguments, 128 + n after signal n.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from aioconsulconnect.cli.demo import demo
from aioconsulconnect.cli.served import test_agent
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.testing.versions import VERSIONS
from aioconsulconnect.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command and return its exit status.

    `arguments` default to those of the process. Wrong arguments raise SystemExit with status 2.
    """
    asked = _parser().parse_args(arguments)
    if callable(reconfigure := getattr(sys.stdout, "reconfigure", None)):
        reconfigure(errors="backslashreplace")  # as stderr does: a path may hold what the terminal cannot show
    try:
        try:
            return asyncio.run(_until_terminated(_command(asked)))
        finally:
            print(end="", flush=True)  # so that a broken pipe is met here, and not when Python ends
    except ConsulError as error:
        _complain(str(error), *_notes(error))
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 1


def _command(asked: argparse.Namespace) -> Coroutine[None, None, None]:
    """Return the command that is asked for, ready to run."""
    if asked.command == "demo":
        return demo(address=asked.address, consul=asked.consul, rotate=asked.rotate)
    logging.basicConfig(format="%(message)s")  # what the agent does not model
    return test_agent(
        version=asked.version_played,
        host=asked.host,
        port=asked.port,
        acl=asked.acl or asked.token is not None,
        default_policy=asked.default_policy,
        token=asked.token,
    )


async def _until_terminated(command: Coroutine[None, None, None]) -> int:
    """
    Run a command and return 0, or the exit status of SIGTERM.

    SIGTERM cancels the command, so that it cleans up as it does on Ctrl-C.
    """
    task = asyncio.ensure_future(command)
    with suppress(NotImplementedError, RuntimeError):  # not on Windows, and not outside the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError as end:
        _complain(*_notes(end))
        if (own := asyncio.current_task()) and own.cancelling():
            raise  # Ctrl-C
        return 128 + signal.SIGTERM
    return 0


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _complain(*reasons: str) -> None:
    for reason in reasons:
        print(f"aioconsulconnect: {reason}", file=sys.stderr)


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
    where.add_argument("--address", metavar="URL", type=_named, help="an agent that runs; intentions are removed again")
    where.add_argument(
        "--consul",
        metavar="BINARY",
        nargs="?",
        type=_named,
        const=True,
        help="a throw-away agent of a real Consul: this binary, else what CONSUL_BINARIES, PATH or .consul/ hold",
    )
    show.add_argument(
        "--rotate",
        action="store_true",
        help="with --address: rotate the root there as well; the new one stays, its key in the configuration",
    )
    serve = commands.add_parser(
        "test-agent",
        help="run an agent for tests, in this process, for a program in any language",
        description="Run an agent for tests that answers over HTTP as a version of Consul does, until Ctrl-C.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8500, help="the port; 0 takes a free one (default: %(default)s)")
    serve.add_argument(
        "--version",
        dest="version_played",
        choices=VERSIONS,
        default=VERSIONS[-1],
        help="the version of Consul to play (default: %(default)s)",
    )
    serve.add_argument("--acl", action="store_true", help="enable ACLs; the management token is printed")
    serve.add_argument("--token", type=_named, help="the management token, a UUID; implies --acl")
    serve.add_argument("--default-policy", choices=("allow", "deny"), help="of the ACLs (default: deny)")
    return parser


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")  # an empty text would silently select another agent
    return text
