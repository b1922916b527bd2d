"""The folders are layers: who imports whom, what belongs to one module alone, and how large things may become."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from importlib.metadata import requires

import pytest
from support.package import MODULES, PACKAGE, identifiers, imports, imports_of_ours, lines_of
from support.paths import TESTS

# The layers, from the ground up. A module imports from its own layer and from those above it in this list, which are
# lower in the picture that one has of them: never from a later one. A new folder gets its line here.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("version", "errors", "lazy", "slices"),
    ("clock", "own_loop"),
    ("compatibility",),
    ("structs.codec",),
    ("structs",),
    ("structs.config_entries",),
    ("transport.settings",),
    ("transport",),
    ("watch.protocol",),
    ("watch",),
    ("endpoints",),
    ("workflows",),
    ("authorization.rules",),
    ("authorization",),
    ("client",),
    ("testing.version_facts", "testing.versions", "testing.agents_thread"),
    ("testing.go_json",),
    ("testing.protocol",),
    ("testing.config_entries",),
    ("testing.registration",),
    ("testing.state",),
    ("testing.handlers",),
    ("testing.versioned_fields",),
    ("testing.server",),
    ("testing.faults",),
    ("testing.cluster",),
    ("testing.agent",),
    ("testing.real_agent",),
    ("cli",),
    ("pytest_plugin",),
    ("__main__",),
)
RANK = {place: rank for rank, layer in enumerate(LAYERS) for place in layer}

# Packages whose `__init__` shows the public names of everything below it.
PUBLIC = {"__init__", "authorization.__init__", "structs.__init__", "testing.__init__"}

# What decides knows neither time nor chance nor the world: these modules import nothing of that kind, and nothing of
# the modules beside them that do.
PURE = {
    "transport.settings": {"options"},
    "transport": {"metadata", "response", "request", "sender", "interpretation", "retry", "words"},
    "watch.protocol": {
        "blocking_query",
        "confirmation",
        "pacing",
        "poll_settings",
        "snapshot",
        "spec",
        "status",
        "transitions",
        "verdict",
    },
    "watch": {"changes"},
    "authorization.rules": {
        "coverage",
        "decision",
        "headers",
        "lookups",
        "normalization",
        "permissions",
        "regex",
        "request",
        "rows",
        "rule",
        "settings",
        "source",
        "verdict",
    },
    "authorization": {"explanation", "findings", "table", "body_fields"},
}
WORLD = {
    "aiohttp", "anyio", "asyncio", "http", "logging", "os", "random", "secrets", "select", "shutil", "signal", "socket",
    "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip

# The only places (a folder with what is below it, or a module) that may import these.
ONLY = {
    "aiohttp": {"transport", "testing"},
    "aiohttp.web": {"testing"},
    "ssl": {"transport.tls", "transport.settings.http_client", "testing"},
    "yarl": {"transport"},
    "time": {"clock", "cli", "testing"},
}

# The only places in which these words stand.
ONLY_WORDS = {
    "os.environ": {"transport.settings.connection", "testing.real_agent", "pytest_plugin"},
    "os.getenv": set[str](),
    "asyncio.sleep": {"clock", "testing"},
}

# What an extra brings, or whoever runs it has.
EXTRAS = {"testing": {"cryptography"}, "cli": {"cryptography"}, "pytest_plugin": {"pytest", "pytest_asyncio"}}

MOST_LINES, MOST_TEST_LINES, MOST_MODULES, MOST_ATTRIBUTES = 350, 500, 14, 12
LARGE = {"watch.protocol.blocking_query"}  # the theory and the table stand above the code that they explain
LARGE_CLASSES = {"BlockingQuery"}


def layer(module: str) -> int:
    """The rank of the most precise place that a module belongs to."""
    parts = module.removesuffix(".__init__").split(".")
    return next(RANK[place] for length in range(len(parts), 0, -1) if (place := ".".join(parts[:length])) in RANK)


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def test_every_module_belongs_to_a_layer_and_every_layer_has_modules() -> None:
    ranks = {layer(module) for module in MODULES if module not in PUBLIC}
    assert ranks == set(range(len(LAYERS)))


@pytest.mark.parametrize("module", [module for module in MODULES if module not in PUBLIC])
def test_imports_of_each_module_point_down(module: str) -> None:
    wrong = {other for other in imports_of_ours(module) - PUBLIC if layer(other) > layer(module)}
    assert not wrong, f"{module} imports from a later layer: {wrong}"


def test_public_names_are_imported_by_edges_alone() -> None:
    edges = {"cli", "pytest_plugin", "__main__"}
    for module in MODULES:
        if not within(module, edges) and module not in PUBLIC:
            assert not {"__init__", "authorization.__init__", "structs.__init__"} & imports_of_ours(module), module


def test_modules_import_each_other_without_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in imports_of_ours(module) - PUBLIC:
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
    assert done == set(MODULES)


def test_folders_import_each_other_without_circles() -> None:
    """Between two folders there are arrows in one direction alone; the modules in a root stand below or above them."""
    arrows: set[tuple[str, str]] = set()
    for module in MODULES:
        if module not in PUBLIC:
            here = module.rpartition(".")[0]
            arrows |= {(here, there.rpartition(".")[0]) for there in imports_of_ours(module) - PUBLIC}
    both = {(a, b) for a, b in arrows if a != b and (b, a) in arrows and not {"", "testing"} & {a, b}}
    assert not both


@pytest.mark.parametrize("folder", PURE)
def test_pure_modules_import_nothing_impure(folder: str) -> None:
    for name in PURE[folder]:
        module = f"{folder}.{name}"
        assert not set(imports(module)) & WORLD, module
        beside = {other for other in imports_of_ours(module) if other.rpartition(".")[0] in PURE}
        impure = {other for other in beside if other.rpartition(".")[2] not in PURE[other.rpartition(".")[0]]}
        assert not impure, f"{module} imports {impure}"


def test_protocol_of_a_watch_is_pure_as_a_whole() -> None:
    found = {module.rpartition(".")[2] for module in MODULES if module.startswith("watch.protocol.")}
    assert found - {"__init__"} == PURE["watch.protocol"]


def test_rules_of_authorization_are_pure_as_a_whole() -> None:
    found = {module.rpartition(".")[2] for module in MODULES if module.startswith("authorization.rules.")}
    assert found - {"__init__"} == PURE["authorization.rules"]


@pytest.mark.parametrize(("imported", "places"), ONLY.items())
def test_import_stands_in_its_places_alone(imported: str, places: set[str]) -> None:
    for module in MODULES:
        if not within(module, places):
            assert imported not in set(imports(module)), f"{module} imports {imported}"


@pytest.mark.parametrize(("words", "places"), ONLY_WORDS.items())
def test_words_stand_in_their_places_alone(words: str, places: set[str]) -> None:
    for module, tree in MODULES.items():
        if not within(module, places):
            written = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert words not in written | set(imports(module)), f"{module} has {words}"


def test_texts_of_consul_are_matched_in_interpretation_alone() -> None:
    """No test of a string against `.text`, `.message` or `.body` of an answer or an error anywhere else."""
    for module, tree in MODULES.items():
        if module == "transport.interpretation" or module.startswith("testing."):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(how, ast.In | ast.NotIn) for how in node.ops):
                against = {ast.unparse(side) for side in node.comparators}
                assert not any(text.endswith((".text", ".message", ".body")) for text in against), (
                    f"{module}: {ast.unparse(node)}"
                )


def test_in_process_agent_uses_aiohttps_server_and_not_its_client() -> None:
    for module in MODULES:
        if module.startswith("testing"):
            taken = {name for name in imports(module) if name.startswith("aiohttp")}
            assert all(name == "aiohttp" or name.startswith("aiohttp.web") for name in taken), f"{module}: {taken}"


def test_in_process_agent_shares_nothing_with_what_it_checks() -> None:
    for module in MODULES:
        if module.startswith("testing"):
            assert all(other.startswith("testing") for other in imports_of_ours(module)), module


def test_imports_of_the_package_are_stdlib_or_declared_dependencies() -> None:
    declared = {line.split(">")[0].split("=")[0] for line in requires(PACKAGE) or [] if "extra ==" not in line}
    assert declared == {"aiohttp", "anyio", "msgspec"}
    allowed = set(sys.stdlib_module_names) | declared | {PACKAGE, "yarl"}  # yarl is aiohttp's own word for a URL
    for module in MODULES:
        extra = EXTRAS.get(module.partition(".")[0], set())
        assert {name.partition(".")[0] for name in imports(module)} <= allowed | extra, module


@pytest.mark.parametrize("module", MODULES)
def test_module_is_short_and_has_a_subject(module: str) -> None:
    if module not in LARGE:
        assert lines_of(module) <= MOST_LINES
    assert not {"utils", "util", "helpers", "common", "misc", "core"} & set(module.split("."))
    docstring = ast.get_docstring(MODULES[module])
    assert docstring or lines_of(module) == 0


def test_no_exception_of_size_is_left_that_is_not_needed() -> None:
    for module in LARGE:
        assert lines_of(module) > MOST_LINES, f"{module} has {lines_of(module)} lines: mend the list"


def test_folder_has_at_most_fourteen_modules() -> None:
    sizes = Counter(module.rpartition(".")[0] for module in MODULES)
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_class_with_behaviour_has_at_most_a_dozen_attributes() -> None:
    large: dict[str, int] = {}
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                stored = {
                    name.attr
                    for name in ast.walk(node)
                    if isinstance(name, ast.Attribute)
                    and isinstance(name.ctx, ast.Store)
                    and ast.unparse(name.value) == "self"
                }
                if len(stored) > MOST_ATTRIBUTES:
                    large[f"{module}.{node.name}"] = len(stored)
    assert {name.rpartition(".")[2] for name in large} == LARGE_CLASSES, large


def test_test_module_has_at_most_five_hundred_lines() -> None:
    sizes = {path.name: len(path.read_text("utf-8").splitlines()) for path in TESTS.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > MOST_TEST_LINES} == {}


def test_tests_import_from_support_alone() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"support"}
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            assert module is None or (module.partition(".")[0] not in folders and not module.startswith("test_")), path


# Words that had to be learnt before this code could be read, and what they are called now.
OLD_WORDS = {
    "Machine": "BlockingQuery", "Ask": "NextRequest, ConsulRequest", "Content": "SnapshotStore",
    "guard": "confirmation", "Poll": "Poller", "Polls": "PollerPool", "Seat": "Subscription", "seat": "subscription",
    "How": "WatchOptions", "Bell": "Wakeup", "bell": "wakeup", "Blocking": "WatchSpec", "Turn": "PollRecord",
    "turns": "poll_log", "turn": "PollRecord", "Pace": "RateLimiter", "Waits": "WaitTuner", "PollBackoff": "Backoff",
    "place": "position", "strayed": "failover_count", "reached": "last_index", "flying": "in_flight",
    "distrust": "invalidate", "crowded": "on_over_budget", "nobody_listens": "is_unreachable",
    "takes": "accepted_options", "needs": "min_version", "firm": "authoritative", "told": "delivered",
    "Wire": "ConsulStruct", "Open": "KeepsUnknown", "OrEmpty": "NullAsEmpty", "Box": "AgentContext",
    "box": "the in-process agent", "Book": "IntentionStore", "Meetings": "FaultInjector", "free_turns": "burst",
    "linger": "idle_timeout",
}  # fmt: skip
KEPT = {("testing.__init__", "Poll")}  # a public name


def test_no_identifier_is_an_old_word() -> None:
    found = {
        (module, name)
        for module in MODULES
        for name in identifiers(module)
        if name.strip("_") in OLD_WORDS and (module, name) not in KEPT
    }
    assert not found, {(module, name, OLD_WORDS[name.strip("_")]) for module, name in found}


def test_loggers_are_one_for_each_folder() -> None:
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger":
                assert ast.literal_eval(node.args[0]) == f"{PACKAGE}.{module.partition('.')[0]}", module
