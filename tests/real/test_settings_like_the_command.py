"""
What the CONSUL_* variables make of a client, beside what they make of the `consul` command: all pairs of values.

Both send the same harmless read, of the config entries of one kind, to servers that note what arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from support.agents import Binary
from support.arrivals import Arrival, Arrivals
from support.servers import Keys

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ConsulError, SettingsError
from aioconsulconnect.transport.settings.options import Options

Variables = Mapping[str, str]

# The 13 variables, with values that mean something different each; {names} are places of the servers and of files.
VALUES: dict[str, tuple[str, ...]] = {
    "CONSUL_HTTP_ADDR": (
        "127.0.0.1:{plain}",
        "127.0.0.1:{tls}",
        "http://127.0.0.1:{plain}",
        "http://127.0.0.1:{tls}",
        "http://127.0.0.1:{tls}/a/b",
        "https://127.0.0.1:{tls}",
        "https://localhost:{tls}",
        "https://127.0.0.1:{mtls}",
        "unix://{unix}",
        "tcp://127.0.0.1:{plain}",
    ),
    "CONSUL_HTTP_TOKEN": ("secret", "a\nb"),
    "CONSUL_HTTP_TOKEN_FILE": ("{token}", "{empty}", "{missing}"),
    "CONSUL_HTTP_AUTH": ("user:password", "user"),
    "CONSUL_HTTP_SSL": ("true", "false", "yes"),
    "CONSUL_HTTP_SSL_VERIFY": ("true", "false", "no"),
    "CONSUL_CACERT": ("", "{ca}", "{other_ca}", "{missing}"),
    "CONSUL_CAPATH": ("{ca_folder}", "{other_folder}", "{empty_folder}", "{missing}"),
    "CONSUL_CLIENT_CERT": ("", "{cert}", "{other_cert}", "{missing}"),
    "CONSUL_CLIENT_KEY": ("", "{key}", "{other_key}", "{text}"),
    "CONSUL_TLS_SERVER_NAME": ("server.dc1.consul", "server.dc1.consul:8501", "other.name"),
    "CONSUL_NAMESPACE": ("team",),
    "CONSUL_PARTITION": ("part",),
}
TLS = {
    "CONSUL_HTTP_SSL_VERIFY",
    "CONSUL_CACERT",
    "CONSUL_CAPATH",
    "CONSUL_CLIENT_CERT",
    "CONSUL_CLIENT_KEY",
    "CONSUL_TLS_SERVER_NAME",
}
PLAIN = {"CONSUL_HTTP_ADDR": "127.0.0.1:{plain}"}
OVER_TLS = {
    "CONSUL_HTTP_ADDR": "https://127.0.0.1:{tls}",
    "CONSUL_CACERT": "{ca}",
    "CONSUL_CLIENT_CERT": "{cert}",
    "CONSUL_CLIENT_KEY": "{key}",
}

# More values of each, tried alone; the file names are explained in `places_of`.
ODD: dict[str, tuple[str, ...]] = {
    "CONSUL_HTTP_ADDR": (
        "localhost:{plain}", "LOCALHOST:{plain}", "[::1]:{plain6}", "http://[::1]:{plain6}", "::1:{plain6}", "a..b:1",
        "127.1:{plain}", ":{plain}", "http://:{plain}", " 127.0.0.1:{plain}", "127.0.0.1:{plain} ",
        "127.0.0.1:{plain}/",
        "127.0.0.1:{plain}/a", "http://127.0.0.1:{plain}/", "http://127.0.0.1:{plain}/a/", "http://127.0.0.1:{plain}/v1",
        "https://127.0.0.1:{tls}/", "https://127.0.0.1:{plain}", "http://127.0.0.1:{plain}/a%20b",
        "http://127.0.0.1:{plain}/a b", "http://127.0.0.1:{plain}/a?x=1", "http://user:password@127.0.0.1:{plain}",
        "HTTP://127.0.0.1:{plain}", "127.0.0.1:{plain},127.0.0.1:{tls}", "unix:{unix}", "unix://{unix}/a", "unix://",
    ),
    "CONSUL_HTTP_TOKEN": ("", " secret ", "  ", "a b", "s\u00e9cret", "a\x7fb", "x" * 5000),
    "CONSUL_HTTP_TOKEN_FILE": ("", "{blank}", "{crlf}", "{two_lines}", "{latin}", "{folder}", " {token}", "/dev/null"),
    "CONSUL_HTTP_AUTH": ("", "user:", ":password", ":", "user:a:b", " user:p ", "\u00fc:\u00df", "\udcff:x"),
    "CONSUL_HTTP_SSL": ("", "1", "t", "T", "TRUE", "True", "0", "f", "F", "FALSE", "False", "tRUE", " true", "on", "2"),
    "CONSUL_HTTP_SSL_VERIFY": ("", "1", "t", "T", "TRUE", "True", "0", "f", "F", "FALSE", "False", "off", " false"),
    "CONSUL_CACERT": ("{ca_folder}", "{empty}", "{both_ca}", "{ca} "),
    "CONSUL_CAPATH": ("", "{deep_folder}", "{hidden_folder}", "{linked_folder}", "{mixed_folder}", "{dangling_folder}"),
    "CONSUL_CLIENT_CERT": ("{folder}", "{text}", "{cert_and_key}"),
    "CONSUL_CLIENT_KEY": ("{folder}", "{missing}", "{cert_and_key}", "{empty}"),
    "CONSUL_TLS_SERVER_NAME": (
        "", "127.0.0.1", "127.0.0.1:1", "SERVER.dc1.consul", "server.dc1.consul.", "localhost", "under_score",
        "[::1]:5", "::1", "a b", "a..b", "*.dc1.consul", "server.dc1.consul:x",
    ),
    "CONSUL_NAMESPACE": ("", "a b", "a&b", "a/b", "*", "default", "\u00fc", "%41"),
    "CONSUL_PARTITION": ("", "a b", "default"),
}  # fmt: skip


class Difference(NamedTuple):
    """
    A case in which a client is not like the command, on purpose.

    - `reason`: why.
    - `name`: variable that makes the case.
    - `instead`: by its value, the value with which the command does what a client does; None if that is an error.
    - `address`: value of CONSUL_HTTP_ADDR for which alone this is so; default: any.
    """

    reason: str
    name: str
    instead: Mapping[str, str | None]
    address: str = ""


DIFFERENCES = (
    Difference(
        "An unreadable flag is an error: the command warns, and leaves out TLS or the verification.",
        "CONSUL_HTTP_SSL",
        dict.fromkeys(("yes", "tRUE", " true", "on", "2")),
    ),
    Difference("As above.", "CONSUL_HTTP_SSL_VERIFY", dict.fromkeys(("no", "off", " false"))),
    Difference(
        "A token that no header can carry is an error at once, also behind a token file: that may be empty one day.",
        "CONSUL_HTTP_TOKEN",
        dict.fromkeys(("a\nb", "s\u00e9cret", "a\x7fb")),
    ),
    Difference("A token is ASCII text, as above.", "CONSUL_HTTP_TOKEN_FILE", {"{latin}": None}),
    Difference("IPv6 needs brackets: ::1:8500 is an address of its own.", "CONSUL_HTTP_ADDR", {"::1:{plain6}": None}),
    Difference(
        "A path is refused where it is not one that can be sent as it stands.",
        "CONSUL_HTTP_ADDR",
        {"http://127.0.0.1:{plain}/a b": None, "http://127.0.0.1:{plain}/a?x=1": None},
    ),
    Difference(
        "A name that no certificate can have is an error at once.",
        "CONSUL_TLS_SERVER_NAME",
        dict.fromkeys(("a b", "a..b", "*.dc1.consul", "server.dc1.consul:x")),
    ),
    Difference(
        "A Unix socket stays without TLS: nothing leaves the machine, and an agent's socket does not answer to TLS.",
        "CONSUL_HTTP_SSL",
        dict.fromkeys(("true", "1", "t", "T", "TRUE", "True"), ""),
        address="unix://{unix}",
    ),
    Difference(
        "A slash at the end is taken off; the command loses the /v1 for it, sends two, or looks for a host with it.",
        "CONSUL_HTTP_ADDR",
        {
            "127.0.0.1:{plain}/": "127.0.0.1:{plain}",
            "http://127.0.0.1:{plain}/": "http://127.0.0.1:{plain}",
            "http://127.0.0.1:{plain}/a/": "http://127.0.0.1:{plain}/a",
            "https://127.0.0.1:{tls}/": "https://127.0.0.1:{tls}",
        },
    ),
    Difference(
        "A prefix is percent-encoded, as part of a URL; the command encodes it once more.",
        "CONSUL_HTTP_ADDR",
        {"http://127.0.0.1:{plain}/a%20b": "http://127.0.0.1:{plain}/a b"},
    ),
    Difference(
        "A port alone is one of this machine for both; the command leaves the host out of the Host header as well.",
        "CONSUL_HTTP_ADDR",
        {":{plain}": "127.0.0.1:{plain}", "http://:{plain}": "127.0.0.1:{plain}"},
    ),
    Difference(
        "A link that leads nowhere is passed over: it stands there for a moment where files are renewed.",
        "CONSUL_CAPATH",
        {"{dangling_folder}": "{ca_folder}"},
    ),
)


def knows(binary: Binary, variables: Variables) -> bool:
    """True if the command of that version knows all this: partitions came with 1.11, a path prefix by 1.16."""
    prefix = variables["CONSUL_HTTP_ADDR"].startswith("http") and variables["CONSUL_HTTP_ADDR"].count("/") > 2
    return not (
        (binary.version < (1, 11) and variables.get("CONSUL_PARTITION")) or (binary.version < (1, 16) and prefix)
    )


def like(variables: Variables) -> tuple[dict[str, str], str]:
    """The variables with which the command does what a client does, and the name of the one that is refused."""
    found, refused = dict(variables), ""
    for difference in DIFFERENCES:
        value = variables.get(difference.name)
        if (
            value is not None
            and value in difference.instead
            and difference.address in {"", variables["CONSUL_HTTP_ADDR"]}
        ):
            instead = difference.instead[value]
            if instead is None:
                refused = difference.name
            else:
                found[difference.name] = instead
    return found, refused


class Sent(NamedTuple):
    """What arrived, and the words of an error."""

    arrived: list[Arrival]
    said: str
    refused: bool = False


class Stage:
    """The servers, the files, and both ways to reach them."""

    def __init__(self, arrivals: Arrivals, places: Variables) -> None:
        self._arrivals = arrivals
        self.places = {**places, **arrivals.places}

    def filled(self, variables: Variables) -> dict[str, str]:
        return {name: value.format(**self.places) for name, value in variables.items()}

    async def by_command(self, binary: str, variables: Variables, **flags: str) -> Sent:
        given = [f"-{name.replace('_', '-')}={value}" for name, value in self.filled(flags).items()]
        process = await asyncio.create_subprocess_exec(
            *(binary, "config", "list", "-kind", "service-defaults", *given),
            env=self.filled(variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode(errors="replace")
        return Sent(self._taken(), said)

    async def by_us(self, variables: Variables, monkeypatch: pytest.MonkeyPatch, **arguments: str) -> Sent:
        with monkeypatch.context() as patch:
            for name, value in self.filled(variables).items():
                patch.setenv(name, value)
            try:
                given: Any = self.filled(arguments)
                consul = Consul(tries=1, options=Options(timeout=5), **given)
            except SettingsError as error:
                return Sent([], str(error), refused=True)
        async with consul:
            try:
                await consul.config.list("service-defaults")
            except ConsulError as error:
                return Sent(self._taken(), str(error))
        return Sent(self._taken(), "")

    def _taken(self) -> list[Arrival]:
        """What arrived; an empty token is none, and at a socket it is all the same which host is named."""
        return [
            arrival._replace(token=arrival.token or None, host="" if arrival.door == "unix" else arrival.host)
            for arrival in self._arrivals.taken()
        ]

    async def compare(self, binary: str, variables: Variables, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Assert that both do the same, or differ on purpose; return True if they differ."""
        same_for, refused = like(variables)
        ours = await self.by_us(variables, monkeypatch)
        theirs = await self.by_command(binary, variables)
        if refused:
            assert ours.refused, (variables, ours)
            assert any(name in ours.said for name in variables), (variables, ours)
            return bool(theirs.arrived)
        differs = same_for != variables
        expected = await self.by_command(binary, same_for) if differs else theirs
        assert ours.arrived == expected.arrived, (variables, ours, theirs)
        if not any(arrival.path for arrival in ours.arrived):
            assert ours.said, variables
        return differs and ours.arrived != theirs.arrived


def places_of(folder: Path) -> tuple[Keys, dict[str, str]]:
    """The keys, and the path of each file that a variable may name."""
    for name in ("ours", "others"):
        (folder / name).mkdir()
    keys, others = Keys(folder / "ours"), Keys(folder / "others")
    ca, other_ca, certificate = keys.ca.read_bytes(), others.ca.read_bytes(), keys.client_cert.read_bytes()
    for path, content in {
        "text": b"no certificate",
        "empty": b"",
        "token": b"from-file\n",
        "blank": b" \n",
        "crlf": b"from-file\r\n",
        "two_lines": b"a\nb\n",
        "latin": b"\xff\xfe",
        "both_ca": other_ca + ca,
        "cert_and_key": certificate + keys.client_key.read_bytes(),
        "ca_folder/ca.pem": ca,
        "other_folder/ca.pem": other_ca,
        "deep_folder/a/b/ca.pem": ca,
        "hidden_folder/.ca": ca,
        "mixed_folder/ca.pem": ca,
        "mixed_folder/README": b"no certificate",
        "dangling_folder/ca.pem": ca,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for name in ("empty_folder", "linked_folder"):
        (folder / name).mkdir()
    (folder / "linked_folder" / "ca.pem").symlink_to(keys.ca)
    (folder / "dangling_folder" / "old.pem").symlink_to(folder / "missing")
    files = {"ca": keys.ca, "cert": keys.client_cert, "key": keys.client_key}
    files |= {"other_ca": others.ca, "other_cert": others.client_cert, "other_key": others.client_key}
    files |= {"folder": folder, "missing": folder / "missing"}
    return keys, {path.name: str(path) for path in folder.iterdir()} | {name: str(path) for name, path in files.items()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("s")
    keys, places = places_of(folder)
    with Arrivals(keys, folder) as arrivals:
        yield Stage(arrivals, places)


def pairs() -> Iterator[object]:
    """All pairs of variables; that of address and TLS is the quick one."""
    for first, second in combinations(VALUES, 2):
        quick = (first, second) == ("CONSUL_HTTP_ADDR", "CONSUL_HTTP_SSL")
        yield pytest.param(first, second, marks=() if quick else (pytest.mark.slow, pytest.mark.timeout(180)))


@pytest.mark.parametrize(("first", "second"), list(pairs()))
async def test_pair_of_variables_does_what_it_does_for_the_command(
    first: str, second: str, stage: Stage, real_binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The address says itself whether there is TLS; two settings of TLS are tried over TLS alone.
    bases = (OVER_TLS,) if "CONSUL_HTTP_ADDR" in {first, second} or {first, second} <= TLS else (PLAIN, OVER_TLS)
    for base, one, other in product(bases, VALUES[first], VALUES[second]):
        variables = {**base, first: one, second: other}
        if knows(real_binary, variables):
            await stage.compare(real_binary.path, variables, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ODD)
async def test_odd_value_does_what_it_does_for_the_command(
    name: str, stage: Stage, real_binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    differ, tried = set[str](), set[str]()
    bases = (PLAIN, OVER_TLS, {**PLAIN, "CONSUL_HTTP_TOKEN_FILE": "{token}"})
    for base, value in product(bases[: 3 if name == "CONSUL_HTTP_TOKEN" else 2], (*VALUES[name], *ODD[name])):
        variables = {**base, name: value}
        if ("{plain6}" in value and "plain6" not in stage.places) or not knows(real_binary, variables):
            continue  # a machine without IPv6, or an old version
        tried.add(value)
        if name == "CONSUL_CAPATH":
            variables.pop("CONSUL_CACERT", None)  # which counts before it
        if value == "{cert_and_key}":
            variables |= dict.fromkeys(("CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"), value)
        if await stage.compare(real_binary.path, variables, monkeypatch):
            differ.add(value)
    listed = {value for one in DIFFERENCES if one.name == name and not one.address for value in one.instead}
    assert differ == listed & tried  # what is no difference is not listed as one


@pytest.mark.parametrize("variables", [{}, {"CONSUL_HTTP_ADDR": ""}, {"CONSUL_HTTP_SSL": "true"}])
async def test_no_address_is_the_same_for_both(
    variables: Variables, stage: Stage, real_binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = await stage.by_command(real_binary.path, variables), await stage.by_us(variables, monkeypatch)
    url = f"{'https' if 'CONSUL_HTTP_SSL' in variables else 'http'}://127.0.0.1:8500"
    if "refused" not in theirs.said:
        pytest.skip("something listens at the default address")
    assert f"{url}/v1" in theirs.said
    assert url in ours.said


class Given(NamedTuple):
    """The value of a flag of the command (`since` that version) and of our argument, beside these variables."""

    flag: str
    argument: str
    value: str
    variables: Variables = MappingProxyType({})
    since: tuple[int, int] = (1, 8)


@pytest.mark.parametrize(
    "given",
    [
        Given("http_addr", "address", "127.0.0.1:{plain}"),
        Given("http_addr", "address", "http://127.0.0.1:{plain}"),
        Given("http_addr", "address", "http://127.0.0.1:{tls}", {"CONSUL_HTTP_SSL": "true"}),
        Given("http_addr", "address", "127.0.0.1:{tls}", {"CONSUL_HTTP_SSL": "true"}),
        Given("http_addr", "address", "https://127.0.0.1:{mtls}", {"CONSUL_HTTP_SSL": "false"}),
        Given("token", "token", "given", {"CONSUL_HTTP_TOKEN": "other"}),
        Given("token", "token", "given", {"CONSUL_HTTP_TOKEN_FILE": "{token}"}, since=(1, 16)),  # 1.8: the file
        Given("token_file", "token_file", "{token}", {"CONSUL_HTTP_TOKEN": "other"}),
        Given("token_file", "token_file", "{token}", {"CONSUL_HTTP_TOKEN_FILE": "{missing}"}),
        Given("ca_file", "ca_cert", "{other_ca}"),
        Given("ca_file", "ca_cert", "{ca}", {"CONSUL_CACERT": "{missing}"}),
        Given("client_cert", "client_cert", "{other_cert}"),
        Given("client_key", "client_key", "{key}", {"CONSUL_CLIENT_KEY": "{other_key}"}),
        Given("tls_server_name", "tls_server_name", "other.name", {"CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}),
    ],
)
async def test_argument_does_what_the_flag_does_beside_the_variables(
    given: Given, stage: Stage, real_binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    if real_binary.version < given.since:
        pytest.skip("the command of this version does something else")
    environ = {**OVER_TLS, **given.variables}
    theirs = await stage.by_command(real_binary.path, environ, **{given.flag: given.value})
    ours = await stage.by_us(environ, monkeypatch, **{given.argument: given.value})
    assert ours.arrived == theirs.arrived
    assert "flag provided but not defined" not in theirs.said
    assert bool(ours.said) is not any(arrival.path for arrival in ours.arrived)
