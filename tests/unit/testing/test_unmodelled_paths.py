"""The paths that Consul has and the in-process agent does not model."""

from __future__ import annotations

import pytest
from support.callers import Caller

BY_VERSION = {
    "/v1/acl/list": ("1.8", "1.10"),
    "/v1/acl/templated-policies": ("1.22",),
    "/v1/acl/auth-methods": ("1.8", "1.10", "1.16", "1.22"),
    "/v1/agent/metrics/stream": ("1.16", "1.22"),
    "/v1/coordinate/node": ("1.8", "1.10", "1.16", "1.22"),
    "/v1/internal/ui/service-topology/x": ("1.10", "1.16", "1.22"),
    "/v1/operator/usage": ("1.16", "1.22"),
    "/v1/peering/x": ("1.16", "1.22"),
    "/v1/query/x/execute": ("1.8", "1.10", "1.16", "1.22"),
}


@pytest.mark.parametrize("path", BY_VERSION)
async def test_only_paths_of_the_version_are_not_modelled(call: Caller, path: str) -> None:
    await call("GET", path, status=501 if call.agent.version.startswith(BY_VERSION[path]) else 404)
