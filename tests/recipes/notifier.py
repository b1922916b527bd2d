"""
Tells of each change of the intentions and of the roots of the certificate authority, until it is stopped.

    python notifier.py

Ends cleanly on Ctrl-C and SIGTERM. What cannot heal by waiting, and what `send` raises, ends it with a traceback: let a
supervisor start it again. The first message of each watch says what was there at the start.
"""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from aioconsulconnect import Added, Batch, Change, Changed, Consul, Event, Intention, Root, Watch

T = TypeVar("T")
Item = TypeVar("Item")
Send = Callable[[str], Awaitable[None]]
metrics = Counter[tuple[str, str, str]]()  # stands for the metrics library in use


def count(event: Event) -> None:
    """The metrics hook, called in the event loop for all that a watch does: it has to return at once."""
    metrics[event.kind, event.path, event.state] += 1  # alert on any state but "synced"


async def notify(consul: Consul, send: Send) -> None:
    """Follow both; where one fails, the other is cancelled."""
    # A write moves the modify_index of all intentions of its destination: that alone is no news.
    intentions = consul.intentions.list().watch(ignore=("modify_index",))
    async with asyncio.TaskGroup() as group:
        group.create_task(follow("intentions", intentions, intention_text, send))
        group.create_task(follow("roots", consul.ca.roots().watch(), root_text, send))


async def follow(what: str, watch: Watch[T, Item], text: Callable[[Item], str], send: Send) -> None:
    """One message for each batch: its changes belong together."""
    async with watch:
        async for batch in watch.changes():
            news = f"{len(batch)} at the start" if batch.first else f"{len(batch)} changed"
            await send("\n".join([f"{what}: {news}{doubt(batch)}", *(change_text(change, text) for change in batch)]))


def doubt(batch: Batch[Item]) -> str:
    """What to know before a removal is believed."""
    if not (batch.filtered or batch.anonymous):
        return ""
    why = "the token may not see everything" if batch.filtered else "no token was sent"
    return f" ({why}: what is removed may only be hidden)"


def change_text(change: Change[Item], text: Callable[[Item], str]) -> str:
    """One line for one change."""
    if isinstance(change, Added):
        return f"+ {text(change.new)}"
    if isinstance(change, Changed):
        return f"~ {text(change.old)} -> {text(change.new)}"
    return f"- {text(change.old)}"


def intention_text(intention: Intention) -> str:
    """Who, to whom, and the rule: an intention without an action decides by permissions."""
    source = f"{intention.source_name}{intention.source_peer and f' of peer {intention.source_peer}'}"
    rule = intention.action or f"{len(intention.permissions)} permissions"
    return f"{source} => {intention.destination_name}: {rule}{' with a JWT' * bool(intention.jwt)}"


def root_text(root: Root) -> str:
    """Which root, and whether it signs."""
    return f"{root.id} until {root.not_after}: {'signs' if root.active else 'does not sign'}"


async def send_to_stdout(message: str) -> None:
    """In place of a chat, a pager, a queue."""
    print(message, flush=True)


async def main() -> None:
    """Notify until a signal comes, then tell the metrics."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with Consul(on_event=count) as consul:
            await notify(consul, send_to_stdout)
    finally:
        print(*metrics.items(), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(main())
