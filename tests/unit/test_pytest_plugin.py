"""The pytest plugin in projects as users have them: each runs in a pytest of its own."""

import inspect
import re
import textwrap

import pytest
from support.agents import Binary
from support.versions import NEWEST, VERSIONS

from aioconsulconnect import pytest_plugin
from aioconsulconnect.transport.settings import connection

pytest_plugins = ["pytester"]

TESTS = """
    import os
    import pytest
    from aioconsulconnect import Consul, PermissionDenied

    async def callers(of):
        async with Consul() as consul:
            return [intention.source_name for intention in await consul.intentions.match(destination=of)]

    async def test_the_newest_agent_without_acls(consul_agent, consul):
        assert consul_agent.version.startswith("NEWEST")
        assert os.environ["CONSUL_HTTP_ADDR"] == consul_agent.url
        await consul.intentions.upsert("web", "db", action="allow")
        assert [each["SourceName"] for each in consul_agent.store.intentions] == await callers("db") == ["web"]

    @pytest.mark.consul_agent(version="1.10", acl=True)
    async def test_marker_sets_version_and_acl_of_the_agent(consul_agent, consul):
        assert consul_agent.version.startswith("1.10")
        await consul.intentions.upsert("web", "db", action="allow")
        assert await callers("db") == ["web"]
        async with Consul(token="") as nobody:
            with pytest.raises(PermissionDenied):
                await nobody.intentions.match(destination="db")

    @pytest.mark.consul_agent("1.16", tls=True, client_certificates=True)
    async def test_tls(consul_agent, consul):
        assert os.environ["CONSUL_HTTP_ADDR"].startswith("https://")
        assert (await consul.ca.roots()).trust_domain == consul_agent.trust_domain

    async def test_faults(consul, consul_faults, consul_agent):
        fault = consul_faults.no_leader(times=1)
        assert await callers("db") == []
        assert fault.hits == 1

    def test_environment_after_a_test_is_restored():
        assert os.environ["CONSUL_HTTP_ADDR"] == "10.255.255.1:8500"
        assert os.environ["CONSUL_NAMESPACE"] == "theirs"
""".replace("NEWEST", NEWEST)


@pytest.fixture(autouse=True)
def _their_own_consul(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    """A user whose variables lead to an agent that tests must not touch, and whose warnings are errors."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "10.255.255.1:8500")
    monkeypatch.setenv("CONSUL_NAMESPACE", "theirs")
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers -p no:cacheprovider\n"
        "filterwarnings =\n  error\n  ignore:The configuration option:pytest.PytestDeprecationWarning\n"
    )


def run(pytester: pytest.Pytester, *arguments: str, code: str = TESTS) -> pytest.RunResult:
    pytester.makepyfile(test_it=code)
    return pytester.runpytest_subprocess(*arguments, timeout=50)


def run_here(pytester: pytest.Pytester, *arguments: str, code: str) -> pytest.RunResult:
    """The same within this process, where nothing hangs on what is imported already."""
    pytester.makepyfile(test_it=code)
    return pytester.runpytest_inprocess(*arguments)


def decorated(mark: str) -> str:
    """The tests with a mark on each asynchronous one."""
    return textwrap.dedent(TESTS).replace("async def test_", f"@pytest.mark.{mark}\nasync def test_")


def test_with_pytest_asyncio_in_auto_mode(pytester: pytest.Pytester) -> None:
    run(pytester, "-o", "asyncio_mode=auto").assert_outcomes(passed=5)


@pytest.mark.slow
def test_with_pytest_asyncio_in_strict_mode(pytester: pytest.Pytester) -> None:
    run(pytester, "-o", "asyncio_mode=strict", code=decorated("asyncio")).assert_outcomes(passed=5)


ANYIO = decorated("anyio") + "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


@pytest.fixture
def no_pytest_asyncio(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    pytester.mkdir("site").joinpath("sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'pytest_asyncio' else find(name, package)\n"
    )
    monkeypatch.setenv("PYTHONPATH", "site")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:asyncio")


@pytest.mark.slow
def test_with_anyio_alone(pytester: pytest.Pytester, no_pytest_asyncio: None) -> None:
    run(pytester, code=ANYIO).assert_outcomes(passed=5)


@pytest.mark.slow
def test_with_anyio_beside_pytest_asyncio(pytester: pytest.Pytester) -> None:
    run(pytester, "-o", "asyncio_mode=strict", code=ANYIO).assert_outcomes(passed=5)


@pytest.mark.slow
def test_a_project_without_asyncio_notices_nothing(pytester: pytest.Pytester, no_pytest_asyncio: None) -> None:
    code = """
        import sys

        def test_plugin_in_a_project_without_asyncio_imports_no_heavy_module():
            heavy = {"aioconsulconnect.client", "asyncio", "aiohttp", "msgspec", "cryptography"}
            assert not heavy & set(sys.modules)
    """
    others = ["anyio", "pytest_cov", "hypothesispytest"]
    run(pytester, *(f"-pno:{plugin}" for plugin in others), code=code).assert_outcomes(passed=1)


def test_a_project_keeps_its_own_fixtures(pytester: pytest.Pytester) -> None:
    code = """
        import pytest

        @pytest.fixture
        def consul():
            return "mine"

        def test_it(consul):
            assert consul == "mine"
    """
    run_here(pytester, code=code).assert_outcomes(passed=1)


def test_the_marker_and_the_fixtures_are_explained(pytester: pytest.Pytester) -> None:
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.consul_agent(version, *"])
    fixtures = pytester.runpytest_inprocess("--fixtures", "-p", "no:timeout").stdout
    wide = (r"consul_agent_module \[module scope\]", r"consul_agent_session \[session scope\]")
    for name in ("consul", "consul_agent", *wide, "consul_faults", "real_consul"):
        fixtures.re_match_lines([rf"{name} -- .*pytest_plugin"])


def test_a_wrong_marker_says_what_is_wrong(pytester: pytest.Pytester) -> None:
    code = """
        import pytest

        @pytest.mark.consul_agent(version="2.0")
        async def test_it(consul_agent):
            pass
    """
    result = run_here(pytester, "-o", "asyncio_mode=auto", code=code)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*plays Consul {', '.join(VERSIONS)}, not '2.0'"])


WIDE = """
    import asyncio
    import os
    import pytest
    import urllib.request
    from aioconsulconnect import Consul

    pytestmark = pytest.mark.consul_agent(version="1.16")

    def roots(agent):
        return urllib.request.urlopen(agent.url + "/v1/connect/ca/roots").read()

    def test_plain(consul_agent_module):
        assert consul_agent_module.version.startswith("1.16")
        assert roots(consul_agent_module)

    def test_another_of_the_module(consul_agent_module):
        assert [each.path for each in consul_agent_module.requests] == ["/v1/connect/ca/roots"]
        consul_agent_module.reset()
        assert not consul_agent_module.requests
        assert os.environ["CONSUL_HTTP_ADDR"] == consul_agent_module.url

    def test_asyncio_run(consul_agent_session):
        async def main():
            async with Consul(consul_agent_session.url) as consul:
                await consul.intentions.upsert("web", "db", action="allow")
        asyncio.run(main())

    def test_narrow_beside_wide(consul_agent_module, consul_agent):
        assert consul_agent.url != consul_agent_module.url
        assert os.environ["CONSUL_HTTP_ADDR"] == consul_agent.url
"""
SESSION_LOOP = """
    import pytest
    import pytest_asyncio
    from aioconsulconnect import Consul

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def client(consul_agent_session):
        async with Consul(consul_agent_session.url) as consul:
            yield consul

    @pytest.mark.asyncio(loop_scope="session")
    async def test_one(client):
        await client.intentions.upsert("web", "db", action="allow")

    @pytest.mark.asyncio(loop_scope="session")
    async def test_two(client, consul_agent_session):
        assert len(await client.intentions.list()) == len(consul_agent_session.store.intentions)

    @pytest.mark.asyncio
    async def test_in_another_loop(client):
        await client.intentions.list()
"""


@pytest.mark.slow
def test_agents_of_modules_and_sessions(pytester: pytest.Pytester) -> None:
    run(pytester, code=WIDE).assert_outcomes(passed=4)


@pytest.mark.slow
def test_session_loop_and_a_test_in_another(pytester: pytest.Pytester) -> None:
    result = run(pytester, code=SESSION_LOOP)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*this client belongs to the event loop of its first use*the same loop scope*"])


@pytest.mark.slow
def test_under_xdist(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    run(pytester, "-n", "2", code=WIDE + SESSION_LOOP).assert_outcomes(passed=6, failed=1)


def test_a_failed_test_shows_what_is_not_modelled(pytester: pytest.Pytester) -> None:
    code = """
        import urllib.request

        def ask(agent, path):
            try:
                urllib.request.urlopen(agent.url + path)
            except OSError:
                pass

        def test_before(consul_agent_module):
            ask(consul_agent_module, "/v1/event/list")

        def test_it(consul_agent_module, consul_agent):
            ask(consul_agent, "/v1/session/list")
            ask(consul_agent, "/v1/session/list")
            ask(consul_agent_module, "/v1/operator/usage")
            assert False
    """
    result = run(pytester, code=code)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*not modelled by the in-process agent*"])
    section = result.stdout.str().split("not modelled by", 1)[1].split("Captured")[0]
    shown = re.findall(r"does not model GET (\S+);", section)
    assert sorted(shown) == ["/v1/operator/usage", "/v1/session/list"]


REAL = """
    from aioconsulconnect import Consul

    async def test_it(real_consul):
        async with Consul() as consul:
            assert (await consul.ca.roots()).roots
            assert real_consul in repr(consul)
"""


def test_a_real_agent_serves_one_test(
    pytester: pytest.Pytester, real_binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_BINARIES", str(real_binary.path))
    run(pytester, "-o", "asyncio_mode=auto", code=REAL).assert_outcomes(passed=1)


def test_without_a_binary_the_test_is_skipped_and_says_why(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONSUL_BINARIES", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    result = run_here(pytester, "-o", "asyncio_mode=auto", "-rs", code=REAL)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no consul binary: set CONSUL_BINARIES*"])


def test_no_variable_of_the_user_is_left_to_lead_elsewhere() -> None:
    known = set(re.findall(r'"(CONSUL_\w+)"', inspect.getsource(connection))) - {"CONSUL_BINARIES"}
    assert known == set(pytest_plugin._VARIABLES)
