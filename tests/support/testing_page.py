"""The generated part of the page of `testing/`: what the in-process agent models, version by version."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator

from support.package import FOLDER

from aioconsulconnect.testing.agent import Agent
from aioconsulconnect.testing.config_entries.kinds import KINDS
from aioconsulconnect.testing.faults import Faults
from aioconsulconnect.testing.server.routes import UNMODELLED
from aioconsulconnect.testing.versions import VERSIONS, spans

BEGIN, END = "<!-- written by tests/support/testing_page.py -->\n", "<!-- end -->\n"


def page() -> str:
    """Return the tables of paths, of kinds of config entries and of faults, in Markdown."""
    paths = _table(("path", "methods", *VERSIONS), _paths())
    return f"{paths}\n{_unmodelled()}\n{_kinds()}\n{_refused()}\n{_faults()}"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = (f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    return "\n".join(lines) + "\n"


def _has(since: str, until: str) -> tuple[str, ...]:
    return tuple("yes" if spans(version, since, until) else "" for version in VERSIONS)


def _paths() -> Iterator[tuple[str, ...]]:
    for route in sorted(Agent()._cluster.table, key=lambda route: route.pattern):
        yield (f"`{route.pattern}`", ", ".join(route.handlers), *_has(route.since, route.until))


def _unmodelled() -> str:
    paths = ", ".join(f"`{path}`" for path, _, _ in UNMODELLED)
    return f"These, where a version has them, are answered with 501 and the reason: {paths}.\n"


def _kinds() -> str:
    rows = ((f"`{kind.name}`", *_has(kind.since, kind.until)) for kind in KINDS if kind.struct is not None)
    return _table(("kind of config entry", *VERSIONS), rows)


def _refused() -> str:
    """What is answered with 501 within what is modelled, as the code says it."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted((FOLDER / "testing").rglob("*.py"))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    words = sorted({said for call in calls if (said := _said(call))})
    head = "Within what is modelled, these are answered with 501, and the reason names what is meant:\n"
    return "\n".join((head, *(f"- {each}" for each in words))) + "\n"


def _said(call: ast.Call) -> str:
    """The reason of a 501 that is raised by this call; empty for any other call."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name == "Field" and any(each.arg == "checked" for each in call.keywords):
        return f"a value of `{ast.literal_eval(call.args[0])}`"
    if name == "Refused" and isinstance(call.args[0], ast.Constant) and call.args[0].value == 501:
        text = call.args[1]
    elif name == "NotModelledError" and call.args:
        text = call.args[0]
    else:
        return ""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    said = "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in parts)
    return said.removeprefix("The in-process agent ")


def _faults() -> str:
    own = inspect.getmembers(Faults, lambda member: inspect.isfunction(member) and _is_own(member))
    return _table(("fault", "what it does"), ((f"`{name}`", _first_line(fault)) for name, fault in own))


def _is_own(function: Callable[..., object]) -> bool:
    return function.__qualname__.startswith("Faults.") and not function.__name__.startswith("_")


def _first_line(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
