"""Errors of settings say what to do, by names that exist, and quote no secret."""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.package import MODULES

import aioconsulconnect
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.settings.connection import ConnectionSettings, Settings
from aioconsulconnect.transport.settings.options import Options

VARIABLES = {
    "CONSUL_HTTP_ADDR": "address",
    "CONSUL_HTTP_TOKEN": "token",
    "CONSUL_HTTP_TOKEN_FILE": "token_file",
    "CONSUL_HTTP_AUTH": "auth",
    "CONSUL_HTTP_SSL": "https",
    "CONSUL_HTTP_SSL_VERIFY": "verify",
    "CONSUL_CACERT": "ca_cert",
    "CONSUL_CAPATH": "ca_path",
    "CONSUL_CLIENT_CERT": "client_cert",
    "CONSUL_CLIENT_KEY": "client_key",
    "CONSUL_TLS_SERVER_NAME": "tls_server_name",
    "CONSUL_NAMESPACE": "namespace",
    "CONSUL_PARTITION": "partition",
}
ARGUMENTS = {
    *ConnectionSettings.__annotations__,
    *inspect.signature(Consul).parameters,
    *Options.__struct_fields__,
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("::1", "IPv6 address in brackets, as in [::1]:8500"),
        ("fe80::1:8500", "IPv6 address in brackets, as in [::1]:8500"),
        ("fe80::1%eth0", "IPv6 address in brackets"),
        ("a..b", "part between dots that is empty"),
        (f"{'a' * 64}:8500", "above 63 characters"),
        ("127.1:8500", "not a complete IP address"),
        (" h:8500", "no spaces"),
        ("h:8500\n", "no spaces or line breaks"),
        ("http://h/a b", "a space is %20"),
        ("h:port", "not host:port, with a name in ASCII and a number"),
        ("HTTP://h:8500", "use host:port, http://, https:// or unix://"),
        ("http://user:pass@h", "use auth"),
    ],
)
def test_error_of_an_address_says_what_to_do(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"^address: .*{re.escape(words)}"):
        Settings.load(text, environ={})
    with pytest.raises(SettingsError, match=f"^CONSUL_HTTP_ADDR: .*{re.escape(words)}"):
        Settings.load(environ={"CONSUL_HTTP_ADDR": text})


@pytest.mark.parametrize(
    "text",
    [
        "http://u:secret@h",
        "u:secret@h:1",
        "http://u:sec ret@h",
        "http://u:secret\u2100@h",
        "unix:u:secret@h://x",
        "h?x=secret",
    ],
)
def test_error_of_an_address_has_no_secret_of_it(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(text, environ={})
    assert "sec" not in f"{caught.value!r} {caught.value.__cause__!r}"


# Names.


@pytest.mark.parametrize(("variable", "argument"), VARIABLES.items())
def test_origin_of_a_variable_is_itself_or_an_argument_that_exists(variable: str, argument: str) -> None:
    if variable in {"CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY", "CONSUL_HTTP_TOKEN"}:
        return  # their errors have the name at once
    named: dict[str, Any] = {argument: "x"}
    if argument.startswith("client_"):
        named = {"client_cert": "x", "client_key": "x"}
    elif argument == "token_file":
        named = {argument: os.devnull}
    elif argument in Options.__struct_fields__:
        argument, named = "options", {"options": Options(namespace="x", partition="x")}
    assert Settings.load(environ={}, **named).origins[variable] == argument
    assert argument in ARGUMENTS
    value = os.devnull if argument == "token_file" else "x"
    pair = {"CONSUL_CLIENT_CERT": "x", "CONSUL_CLIENT_KEY": "x"} if argument.startswith("client_") else {}
    assert Settings.load(environ={**pair, variable: value}).origins[variable] == variable


def raised_texts() -> Iterator[tuple[str, str]]:
    """The texts of the errors that the package raises, with the module of each; what is filled in shows as {}."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            for part in ast.walk(node.exc):
                if isinstance(part, ast.JoinedStr):
                    yield module, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in part.values)
                elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield module, part.value


def names_of_the_package() -> set[str]:
    """All parameters, fields and methods that a user could name."""
    found: set[str] = set(dir(aioconsulconnect))
    for tree in MODULES.values():
        for node in ast.walk(tree):
            match node:
                case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)) | ast.ClassDef(name=name):
                    found.add(name)
    return found


def test_every_argument_that_an_error_names_exists() -> None:
    known, texts = names_of_the_package(), list(raised_texts())
    assert len(texts) > 200
    assert {"ca_cert", "https", "options"} <= known
    wrong = {
        (module, name)
        for module, text in texts
        for name in (*re.findall(r"`([a-z_]+)`", text), *re.findall(r"(?<![\w?&./-])([a-z_]+)=", text))
        if name not in known
    }
    assert not wrong


def test_every_argument_that_an_error_of_settings_names_is_one_of_the_client() -> None:
    texts = [text for module, text in raised_texts() if module == "transport.settings.connection"]
    named = {name for text in texts for name in re.findall(r"(?<![\w?&./-])([a-z_]+)=|\b([a-z]+_[a-z_]+)\b", text)}
    words = {word for pair in named for word in pair if word}
    assert {"https", "client_cert", "max_body"} <= words
    assert words <= ARGUMENTS


def test_every_variable_that_an_error_names_is_one_of_the_command() -> None:
    found = {name for _, text in raised_texts() for name in re.findall(r"CONSUL_[A-Z_]+", text)}
    assert found <= {*VARIABLES, "CONSUL_BINARIES"}


def test_struct_of_settings_has_the_names_of_the_arguments() -> None:
    assert {field.name for field in msgspec.structs.fields(Settings)} - ARGUMENTS == {"addresses", "client", "origins"}
