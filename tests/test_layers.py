"""The house keeps its floors: who imports whom, what belongs to one module alone, and which names are public."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest

import aioconsulconnect

PACKAGE = "aioconsulconnect"
ROOT = Path(aioconsulconnect.__file__).parent

# From the ground up. A module imports from earlier rows of its own floor and from the floors below, never upwards.
# A folder is one row: within it there is no order, only no circles. A new module gets its row here.
FLOORS: dict[str, tuple[str, ...]] = {
    "values": ("version", "errors", "versions", "spiffe", "wire", "structs", "options", "request"),
    "decisions": ("retry", "status", "pacing", "guard", "changes", "content", "blocking"),
    "input and output": ("clock", "settings", "transport", "budget", "polls", "consumer", "watch", "endpoints"),
    "live state": ("client",),
    "edges": ("testing", "cli", "pytest_plugin", "__init__", "__main__"),
}

# What decides and what is decided on knows neither time nor chance nor the world.
PURE = ("values", "decisions")
IMPURE = {
    "aiohttp", "anyio", "asyncio", "http", "logging", "os", "random", "secrets", "select", "shutil", "signal", "socket",
    "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip

# The only rows that may import these.
ONLY = {
    "aiohttp": {"transport", "testing"},
    "aiohttp.web": {"testing"},
    "ssl": {"transport", "tls", "testing"},
    "yarl": {"transport"},
    "time": {"clock", "cli", "testing"},
}

# The only rows in which these words stand.
ONLY_WORDS = {
    "os.environ": {"settings", "pytest_plugin", "testing"},  # where tests find their agents
    "os.getenv": {"settings"},
    "asyncio.sleep": {"clock"},
}

# What an extra brings, or whoever runs it has.
EXTRAS = {"testing": {"cryptography"}, "cli": {"cryptography"}, "pytest_plugin": {"pytest", "pytest_asyncio"}}

LINES, MOST = 360, 420
LONGER = {  # may have more lines than that
    "blocking",  # the theory and the table stand above the code that they explain
    "polls",  # one task and its state
    "transport",  # the seam to aiohttp is one module, and ssl belongs to it
}

RANK = {row: (floor, place) for floor, rows in enumerate(FLOORS.values()) for place, row in enumerate(rows)}
FLOOR = {row: floor for floor, rows in FLOORS.items() for row in rows}


@cache
def modules() -> dict[str, ast.Module]:
    """The package's modules by their name in it: `wire.base`, `wire.__init__`."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = ast.parse(path.read_text("utf-8"))
    return found


def row(module: str) -> str:
    return module.partition(".")[0]


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in it, and `module.name` for every name taken from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            assert node.module is not None
            taken = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from taken
            if not all(name.removeprefix(PACKAGE + ".") in modules() for name in taken):
                yield node.module


def inner_imports(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for name in imports(modules()[module]):
        inner = name.removeprefix(PACKAGE + ".")
        if inner != name:
            found |= {known for known in (inner, f"{inner}.__init__") if known in modules()}
    return found


def test_every_module_has_its_row_and_every_row_is_there() -> None:
    assert {row(module) for module in modules()} == set(RANK)


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    own = row(module)
    wrong = {
        other for other in inner_imports(module) if row(other) != own and RANK[row(other)] > RANK[own]
    }  # fmt: skip
    assert not wrong, f"{module} imports from above: {wrong}"


def test_nobody_imports_the_front_door_but_the_edges() -> None:
    for module, tree in modules().items():
        if FLOOR[row(module)] != "edges":
            names = {name for name in imports(tree) if name.startswith(PACKAGE)}
            direct = {n for n in names if n.count(".") == 1 and n.removeprefix(PACKAGE + ".") not in RANK}
            assert not direct, f"{module} imports {direct} from the package itself"


def test_there_are_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in inner_imports(module):
                visit(other, (*path, module))
            done.add(module)

    for module in modules():
        visit(module, ())
    assert done == set(modules())


@pytest.mark.parametrize("module", [module for module in modules() if FLOOR[row(module)] in PURE])
def test_the_lower_floors_are_pure(module: str) -> None:
    assert not set(imports(modules()[module])) & IMPURE


@pytest.mark.parametrize(("imported", "rows"), ONLY.items())
def test_what_is_imported_in_one_place_alone(imported: str, rows: set[str]) -> None:
    for module, tree in modules().items():
        if row(module) not in rows:
            assert imported not in set(imports(tree)), f"{module} imports {imported}"


@pytest.mark.parametrize(("words", "rows"), ONLY_WORDS.items())
def test_what_is_written_in_one_place_alone(words: str, rows: set[str]) -> None:
    for module, tree in modules().items():
        if row(module) not in rows:
            written = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert words not in written | set(imports(tree)), f"{module} has {words}"


def test_the_box_uses_the_server_of_aiohttp_and_not_its_client() -> None:
    for module, tree in modules().items():
        if row(module) == "testing":
            taken = {name for name in imports(tree) if name.startswith("aiohttp")}
            assert all(name == "aiohttp" or name.startswith("aiohttp.web") for name in taken), f"{module}: {taken}"
            assert "aiohttp" not in {
                alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
            }


def test_the_box_shares_nothing_with_what_it_is_there_to_check() -> None:
    for module in modules():
        if row(module) == "testing":
            assert {row(other) for other in inner_imports(module)} <= {"testing"}, module


def test_nothing_is_needed_that_is_not_declared() -> None:
    declared = {line.split(">")[0].split("=")[0] for line in requires(PACKAGE) or [] if "extra ==" not in line}
    assert declared == {"aiohttp", "anyio", "msgspec"}
    allowed = set(sys.stdlib_module_names) | declared | {PACKAGE, "yarl"}  # yarl is aiohttp's own word for a URL
    for module, tree in modules().items():
        extra = EXTRAS.get(row(module), set())
        assert {name.partition(".")[0] for name in imports(tree)} <= allowed | extra, module


@pytest.mark.parametrize("module", modules())
def test_modules_are_short_and_have_a_subject(module: str) -> None:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert len(path.read_text("utf-8").splitlines()) <= (MOST if module in LONGER else LINES)
    assert not {"utils", "util", "helpers", "common", "misc"} & set(module.split("."))
    assert ast.get_docstring(modules()[module])


def test_no_exception_is_longer_than_it_needs_to_be() -> None:
    for module in LONGER:
        lines = len(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8").splitlines())
        assert lines > LINES, f"{module} has {lines} lines: mend the list"


@pytest.mark.parametrize("package", ["__init__", "testing.__init__"])
def test_public_names_are_static_sorted_and_there(package: str) -> None:
    lists = [
        node.value
        for node in modules()[package].body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    (names,) = [ast.literal_eval(value) for value in lists]  # static: a literal
    assert names == sorted(set(names))
    module = importlib.import_module(f"{PACKAGE}.{package}".removesuffix(".__init__"))
    assert [name for name in names if not hasattr(module, name)] == []


def test_every_public_name_is_documented() -> None:
    for name in aioconsulconnect.__all__:
        thing = getattr(aioconsulconnect, name)
        if isinstance(thing, type):
            assert thing.__doc__, name


def test_the_version_is_that_of_the_package() -> None:
    assert aioconsulconnect.__version__.count(".") == 2
    assert (ROOT / "py.typed").exists()
