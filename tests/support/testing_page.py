"""The generated part of the page of `testing/`: what the in-process agent models, version by version."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from aioconsulconnect.testing.agent import Agent
from aioconsulconnect.testing.config_entries.kinds import KINDS
from aioconsulconnect.testing.faults import Faults
from aioconsulconnect.testing.server.routes import UNMODELLED
from aioconsulconnect.testing.versions import VERSIONS, spans

BEGIN, END = "<!-- written by tests/support/testing_page.py -->\n", "<!-- end -->\n"


def page() -> str:
    """Return the tables of paths, of kinds of config entries and of faults, in Markdown."""
    return "\n".join((_table(("path", "methods", *VERSIONS), _paths()), _unmodelled(), _kinds(), _faults()))


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = (f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    return "\n".join(lines) + "\n"


def _has(since: str, until: str) -> tuple[str, ...]:
    return tuple("yes" if spans(version, since, until) else "" for version in VERSIONS)


def _paths() -> Iterator[tuple[str, ...]]:
    for route in sorted(Agent()._cluster.table, key=lambda route: route.pattern):
        yield (f"`{route.pattern}`", ", ".join(route.handlers), *_has(route.since, route.until))


def _unmodelled() -> str:
    paths = ", ".join(f"`{path}`" for path, _ in UNMODELLED)
    return f"Everything else below {paths} is answered with 501 and the reason.\n"


def _kinds() -> str:
    rows = ((f"`{kind.name}`", *_has(kind.since, kind.until)) for kind in KINDS if kind.struct is not None)
    return _table(("kind of config entry", *VERSIONS), rows)


def _faults() -> str:
    own = inspect.getmembers(Faults, lambda member: inspect.isfunction(member) and _is_own(member))
    return _table(("fault", "what it does"), ((f"`{name}`", _first_line(fault)) for name, fault in own))


def _is_own(function: Callable[..., object]) -> bool:
    return function.__qualname__.startswith("Faults.") and not function.__name__.startswith("_")


def _first_line(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
