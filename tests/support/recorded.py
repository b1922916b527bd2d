"""The recorded exchanges of four real agents, to read in tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from support.paths import DATA

from aioconsulconnect.transport.response import Response

FOLDER = DATA / "recordings"


class Exchange(NamedTuple):
    """A request and its answer; `version` is what Consul called itself."""

    version: str
    name: str
    method: str
    path: str
    response: Response

    def __str__(self) -> str:
        return f"{self.version} {self.name}"


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All of them, in the order recorded; those whose bodies were left out are not among them."""
    return tuple(exchange for file in sorted(FOLDER.glob("consul-*.jsonl")) for exchange in _read(file))


def _read(file: Path) -> Iterator[Exchange]:
    for line in file.read_text("utf-8").splitlines():
        record = json.loads(line)
        request, answer = record["request"], record["response"]
        if answer is None or answer["body"] == "(compressed body left out)":
            continue
        headers = {name.lower(): value for name, value in answer["headers"]}
        response = Response(answer["status"], headers, answer["body"].encode(), "http://recorded:8500")
        version = file.stem.removeprefix("consul-")
        yield Exchange(version, record["name"], request["method"], request["path"], response)
