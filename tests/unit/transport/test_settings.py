"""Argument, then environment, then default; and an error that names each malformed value."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given, strategies as st

from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.settings.connection import Address, Settings
from aioconsulconnect.transport.settings.options import Options


def load(environ: Mapping[str, str] | None = None, /, *arguments: Any, **named: Any) -> Settings:
    return Settings.load(*arguments, environ=environ or {}, **named)


def address(text: str, **environ: str) -> str:
    (only,) = load({"CONSUL_HTTP_ADDR": text, **environ}).addresses
    return str(only)


# The address.


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:8500"),
        ("consul.example:8500", "http://consul.example:8500"),
        ("consul.example", "http://consul.example"),
        ("http://consul.example", "http://consul.example"),
        ("https://consul.example", "https://consul.example"),
        ("https://consul.example:8501/", "https://consul.example:8501"),
        ("http://h:1/consul", "http://h:1/consul"),
        ("http://h:1/a/b/", "http://h:1/a/b"),
        ("h:1/", "http://h:1"),
        ("[::1]:8500", "http://[::1]:8500"),
        ("http://[fe80::1%25eth0]:8500", "http://[fe80::1%25eth0]:8500"),
        (":8500", "http://127.0.0.1:8500"),
        ("http://:8500/prefix", "http://127.0.0.1:8500/prefix"),
        ("consul.example.:8500", "http://consul.example.:8500"),
        ("unix:///run/consul.sock", "unix:///run/consul.sock"),
        ("unix://consul.sock", "unix://consul.sock"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert address(text) == url


@pytest.mark.parametrize(
    ("text", "tls", "url"),
    [
        ("h:1", "true", "https://h:1"),
        ("", "1", "https://127.0.0.1:8500"),
        ("http://h:1", "true", "https://h:1"),
        ("http://h:1/prefix", "T", "https://h:1/prefix"),
        ("http://h:1", "false", "http://h:1"),
        ("https://h:1", "false", "https://h:1"),
        ("unix:///s", "true", "unix:///s"),
    ],
)
def test_ssl_variable_makes_every_address_but_a_socket_use_tls(text: str, tls: str, url: str) -> None:
    assert address(text, CONSUL_HTTP_SSL=tls) == url
    if text:
        assert str(load({"CONSUL_HTTP_SSL": tls}, text).addresses[0]) == url
        assert str(load({"CONSUL_HTTP_SSL": tls}, ["other:1", text]).addresses[1]) == url


@pytest.mark.parametrize("text", ["h:1", "http://h:1", "http://h:1/prefix"])
def test_https_argument_wins_over_the_variables(text: str) -> None:
    variables = {"CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_ADDR": text}
    assert str(load(variables, https=False).addresses[0]).startswith("http://h:1")
    assert str(load({"CONSUL_HTTP_ADDR": text}, https=True).addresses[0]).startswith("https://h:1")


@pytest.mark.parametrize(
    ("text", "https", "words"),
    [
        ("http://h:1", True, "http:// and https=True contradict"),
        ("https://h:1", False, "https:// and https=False contradict"),
        ("unix:///s", True, "no TLS on a Unix socket"),
    ],
)
def test_https_argument_against_the_scheme_of_the_address_raises_settings_error(
    text: str, https: bool, words: str
) -> None:
    with pytest.raises(SettingsError, match=f"^address: .*{words}.*leave https out"):
        load({}, text, https=https)
    with pytest.raises(SettingsError, match=words):
        load({}, ["h:1", text], https=https)
    if text != "http://h:1":  # which the argument may lift to TLS where a variable says it
        with pytest.raises(SettingsError, match=f"^CONSUL_HTTP_ADDR: .*{words}"):
            load({"CONSUL_HTTP_ADDR": text}, https=https)


@pytest.mark.parametrize(
    "text",
    [
        "HTTP://h:1", "ftp://h", "unix://", "unix://a\0b", "h:0", "h:99999", "h:port", "h:1/path", "http://", "://h",
        "http://user:pass@h", "http://h?x=1", "http://h#x", "http://h/a//b", "http://h/a b", "h h", "[::1", "http://[::1",
        "http://h\\x", "h:1\n", "h\t:1", "http://h/\r", "http://h/\x00", "ünï:1", "h:-1", "-", "..//..",
        "::1", "::1:8500", "[v1.a]:1", "[::1%ü]", "a..b", ".a", f"{'a' * 64}:1", ".".join(["a" * 60] * 5), "127.1",
        "1.2.3.999", "http://127.0.0.01:1", " h:1", "h:1 ", "h:", ":", "h:1,k:2",
    ],
)  # fmt: skip
def test_a_malformed_address_is_refused_by_name(text: str) -> None:
    if text == "-":
        assert address(text) == "http://-"  # a name like any other
        return
    with pytest.raises(SettingsError, match="CONSUL_HTTP_ADDR"):
        load({"CONSUL_HTTP_ADDR": text})
    with pytest.raises(SettingsError, match=r"^address"):
        load({}, text)
    with pytest.raises(SettingsError, match=r"^address"):
        load({}, ["h:1", text])


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_settings_error(text: str) -> None:
    try:
        settings = load({"CONSUL_HTTP_ADDR": text})
    except SettingsError:
        return
    found = settings.addresses[0]
    assert str(found).partition("://")[0] in {"http", "https", "unix"}
    (urlsplit(found.url).hostname or "").encode("idna")  # as the resolver does


@given(
    st.sampled_from(["", "http://", "https://"]),
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True),
    st.integers(1, 65535),
)
def test_any_host_and_port_lead_there(scheme: str, host: str, port: int) -> None:
    assume(not host.replace(".", "").isdigit())  # which would be an IPv4 address
    assert address(f"{scheme}{host}:{port}") == f"{scheme or 'http://'}{host}:{port}"


def test_several_addresses_keep_their_order() -> None:
    assert [str(a) for a in load({}, ["b:1", "https://a:2", "unix:///s"]).addresses] == [
        "http://b:1",
        "https://a:2",
        "unix:///s",
    ]
    with pytest.raises(SettingsError, match="empty"):
        load({}, [])


@pytest.mark.parametrize(
    ("text", "near"),
    [("localhost:1", True), ("127.0.0.1:1", True), ("[::1]:1", True), ("unix:///s", True), ("10.0.0.1:1", False)],
)
def test_address_on_loopback_or_unix_socket_is_near(text: str, near: bool) -> None:
    assert load({}, text).addresses[0].near is near


def test_addresses_are_values() -> None:
    assert Address(url="http://h:1") == load({}, "h:1").addresses[0]


# Precedence.


def test_an_argument_wins_over_its_variable(tmp_path: Path) -> None:
    environ = {
        "CONSUL_HTTP_ADDR": "env:1",
        "CONSUL_HTTP_TOKEN": "env",
        "CONSUL_HTTP_AUTH": "env:env",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_HTTP_SSL_VERIFY": "false",
        "CONSUL_CACERT": "env",
        "CONSUL_CAPATH": "env",
        "CONSUL_CLIENT_CERT": "env",
        "CONSUL_CLIENT_KEY": "env",
        "CONSUL_TLS_SERVER_NAME": "env",
        "CONSUL_NAMESPACE": "env",
        "CONSUL_PARTITION": "env",
    }
    from_environ = load(environ)
    assert str(from_environ.addresses[0]) == "https://env:1"
    assert (from_environ.token(), from_environ.verify, from_environ.tls_server_name) == ("env", False, "env")
    assert (from_environ.ca_cert, from_environ.ca_path) == ("env", "env")
    assert (from_environ.client_cert, from_environ.client_key) == ("env", "env")
    assert (from_environ.options.namespace, from_environ.options.partition) == ("env", "env")
    given_all = load(
        environ,
        "arg:1",
        token="arg",
        auth="arg:arg",
        https=False,
        verify=True,
        ca_path="arg",
        client_cert=Path("arg"),
        client_key="arg",
        tls_server_name="arg",
        options=Options(namespace="arg", partition="arg"),
    )
    assert str(given_all.addresses[0]) == "http://arg:1"
    assert (given_all.token(), given_all.verify, given_all.tls_server_name) == ("arg", True, "arg")
    assert given_all.auth == "Basic YXJnOmFyZw=="
    assert (given_all.client_cert, given_all.client_key, given_all.ca_path) == ("arg", "arg", "arg")
    assert (given_all.options.namespace, given_all.options.partition) == ("arg", "arg")


@pytest.mark.parametrize(
    ("environ", "arguments", "cert", "path"),
    [
        ({"CONSUL_CACERT": "c", "CONSUL_CAPATH": "p"}, {}, "c", "p"),
        ({"CONSUL_CACERT": "c"}, {"ca_path": "p"}, "", "p"),
        ({"CONSUL_CAPATH": "p"}, {"ca_cert": "c"}, "c", ""),
    ],
)
def test_an_explicit_authority_is_the_only_one(
    environ: dict[str, str], arguments: dict[str, str], cert: str, path: str
) -> None:
    settings = load(environ, **arguments)
    assert (settings.ca_cert, settings.ca_path) == (cert, path)


def test_empty_arguments_are_explicit_too() -> None:
    environ = {"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_AUTH": "env", "CONSUL_NAMESPACE": "env", "CONSUL_CACERT": "env"}
    settings = load(environ, token="", auth="", ca_cert="", options=Options(namespace=""))
    assert (settings.token(), settings.auth, settings.ca_cert) == (None, "", "")
    assert not settings.options.namespace


def test_empty_variables_are_none() -> None:
    names = ["ADDR", "TOKEN", "TOKEN_FILE", "AUTH", "SSL", "SSL_VERIFY"]
    settings = load({**{f"CONSUL_HTTP_{name}": "" for name in names}, "CONSUL_NAMESPACE": "", "CONSUL_CLIENT_KEY": ""})
    assert settings.options == Options()
    assert (settings.token(), settings.auth, settings.verify) == (None, "", True)


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "from-the-process:1")
    assert str(Settings.load().addresses[0]) == "http://from-the-process:1"


# Flags.


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert address("h:1", CONSUL_HTTP_SSL=text).startswith("https")


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false(text: str) -> None:
    assert load({"CONSUL_HTTP_SSL_VERIFY": text}).verify is False


@pytest.mark.parametrize("name", ["CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY"])
@pytest.mark.parametrize("text", ["yes", "no", "tRUE", " true", "2"])
def test_an_unreadable_flag_is_an_error_never_off(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({name: text})


# Everything else.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"client_cert": "c"}, "CONSUL_CLIENT_KEY"),
        ({"client_key": "k"}, "CONSUL_CLIENT_CERT"),
        ({"max_body": 0}, "max_body"),
        ({"tries": 0}, "tries"),
        ({"tls_server_name": "a b"}, "CONSUL_TLS_SERVER_NAME"),
        ({"tls_server_name": "a..b"}, "CONSUL_TLS_SERVER_NAME"),
        ({"tls_server_name": "::1"}, "CONSUL_TLS_SERVER_NAME"),
        ({"token_file": "a\0b"}, "^token_file: .*NUL"),
        ({"ca_cert": "a\0b"}, "^ca_cert: .*NUL"),
        ({"ca_path": Path("a\0b")}, "^ca_path: .*NUL"),
        ({"client_cert": "a\0b", "client_key": "k"}, "^client_cert: .*NUL"),
        ({"auth": "\ud800:secret"}, "^auth"),
        ({"token": "a\nb"}, "token"),
        ({"token": "t", "token_file": "f"}, "not both"),
    ],
)
def test_malformed_argument_raises_settings_error_that_names_it(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load({}, **arguments)


@pytest.mark.parametrize(
    ("text", "name"), [("server.dc1.consul:8501", "server.dc1.consul"), ("[::1]:8501", "::1"), ("[::1]", "::1")]
)
def test_a_server_name_loses_its_port(text: str, name: str) -> None:
    assert load({"CONSUL_TLS_SERVER_NAME": text}).tls_server_name == name


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("user:pass", "Basic dXNlcjpwYXNz"),
        ("user:a:b", "Basic dXNlcjphOmI="),
        ("user", "Basic dXNlcjo="),
        ("ü:ß", "Basic w7w6w58="),
        ("\udcff:x", "Basic /zp4"),  # a variable with bytes that are not UTF-8
        ("", ""),
    ],
)
def test_basic_auth(text: str, header: str) -> None:
    assert load({"CONSUL_HTTP_AUTH": text}).auth == header


# The token.


def test_a_token_is_trimmed_and_refused_without_being_quoted() -> None:
    assert load({"CONSUL_HTTP_TOKEN": "  t \n"}).token() == "t"
    with pytest.raises(SettingsError, match="CONSUL_HTTP_TOKEN") as caught:
        load({"CONSUL_HTTP_TOKEN": "geheimer\nschlüssel"})
    assert "geheim" not in str(caught.value)


async def test_a_token_may_be_a_function() -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return "t2"

    assert load({"CONSUL_HTTP_TOKEN": "env"}, token=lambda: "t1").token() == "t1"
    found = load({}, token=later).token()
    assert not isinstance(found, str)
    assert found is not None
    assert await found == "t2"


def test_a_token_file_beats_the_variable_and_an_empty_one_does_not(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" from-file\n")
    environ = {"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": str(file)}
    assert load(environ).token() == "from-file"
    assert load(environ, token="arg").token() == "arg"
    file.write_text("\n")
    assert load(environ).token() == "env"
    assert load({"CONSUL_HTTP_TOKEN_FILE": str(file)}).token() is None
    other = tmp_path / "other"
    other.write_text("other")
    assert load(environ, token_file=other).token() == "other"


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    token = load({}, token_file=file).token
    assert token() == "one"
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(file)
    assert token() == "two"
    file.write_bytes(b"\xff\xfe")
    assert token() == "two"  # not text: the last one stays in use
    file.write_text("bad\x01token")
    assert token() == "two"
    file.unlink()
    assert token() == "two"
    file.write_text("three")
    assert token() == "three"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"geheim\x01"])
def test_an_unusable_token_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="CONSUL_HTTP_TOKEN_FILE") as caught:
        load({"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": str(file)})
    assert "geheim" not in str(caught.value)
    with pytest.raises(SettingsError, match="token_file"):
        load({}, token_file=file)


def test_settings_repr_and_text_show_no_secret() -> None:
    settings = load({}, "h:1", token="geheim", auth="user:geheim")
    assert repr(settings) == "Settings(http://h:1)"
    assert settings.__rich_repr__() == [("addresses", ("http://h:1",))]
    assert "geheim" not in str(settings)


def test_the_origin_of_a_value_is_remembered() -> None:
    origins = load({"CONSUL_CACERT": "x"}, client_cert="c", client_key="k").origins
    assert (origins["CONSUL_CACERT"], origins["CONSUL_CLIENT_CERT"]) == ("CONSUL_CACERT", "client_cert")
    assert os.environ.get("CONSUL_CACERT") is None


def test_a_token_file_that_is_being_written_keeps_the_last_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    settings = load({}, token_file=file)
    assert settings.token() == "first"
    file.write_text("")  # a writer that is not atomic: nobody becomes anonymous for a moment
    assert settings.token() == "first"
    file.write_text("second")
    assert settings.token() == "second"
