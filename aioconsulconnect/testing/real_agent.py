"""A real Consul on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from shutil import which


def find_consul(environ: Mapping[str, str] | None = None) -> str | None:
    """A consul binary on this machine: the first of CONSUL_BINARIES, else on the PATH, else `.consul/consul`."""
    variables = os.environ if environ is None else environ
    for path in variables.get("CONSUL_BINARIES", "").split(os.pathsep):
        if path:
            return path
    local = Path(".consul") / "consul"
    return which("consul", path=variables.get("PATH")) or (str(local) if os.access(local, os.X_OK) else None)
