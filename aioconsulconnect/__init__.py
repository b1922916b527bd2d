"""
Async client for Consul's service mesh (Connect): intentions you can watch, a certificate authority you can follow.

`Consul` is the door; README.md shows what a program looks like. The structs of everything beside intentions and roots
(config entries, registrations, instances, leaves, chains) are in `aioconsulconnect.structs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aioconsulconnect.version import __version__

if TYPE_CHECKING:
    from aioconsulconnect.client import Consul
    from aioconsulconnect.compatibility import Capabilities
    from aioconsulconnect.errors import (
        BadRequest,
        Closed,
        Conflict,
        ConnectionFailed,
        ConsulError,
        InvalidRequest,
        NoLeader,
        NotFound,
        NotReady,
        OutcomeUnknown,
        PermissionDenied,
        RequestTimeout,
        ResponseTooLarge,
        ServerError,
        SettingsError,
        Throttled,
        UnreadableResponse,
        Unsupported,
    )
    from aioconsulconnect.structs.ca import CAConfig, CAConfiguration, ProviderConfig, Root, Roots
    from aioconsulconnect.structs.intentions import (
        HeaderPermission,
        HTTPPermission,
        Intention,
        JWTProviderRequirement,
        JWTRequirement,
        Permission,
        VerifyClaim,
    )
    from aioconsulconnect.structs.spiffe import SpiffeId
    from aioconsulconnect.transport.metadata import Meta
    from aioconsulconnect.transport.options import Options
    from aioconsulconnect.transport.response import Reply
    from aioconsulconnect.watch.changes import Added, Batch, Change, Changed, Removed
    from aioconsulconnect.watch.protocol.pacing import PollSettings
    from aioconsulconnect.watch.protocol.status import Event, Status
    from aioconsulconnect.watch.query import Query
    from aioconsulconnect.watch.subscription import Cursor
    from aioconsulconnect.watch.watch import Watch, all_ready

__all__ = [
    "Added",
    "BadRequest",
    "Batch",
    "CAConfig",
    "CAConfiguration",
    "Capabilities",
    "Change",
    "Changed",
    "Closed",
    "Conflict",
    "ConnectionFailed",
    "Consul",
    "ConsulError",
    "Cursor",
    "Event",
    "HTTPPermission",
    "HeaderPermission",
    "Intention",
    "InvalidRequest",
    "JWTProviderRequirement",
    "JWTRequirement",
    "Meta",
    "NoLeader",
    "NotFound",
    "NotReady",
    "Options",
    "OutcomeUnknown",
    "Permission",
    "PermissionDenied",
    "PollSettings",
    "ProviderConfig",
    "Query",
    "Removed",
    "Reply",
    "RequestTimeout",
    "ResponseTooLarge",
    "Root",
    "Roots",
    "ServerError",
    "SettingsError",
    "SpiffeId",
    "Status",
    "Throttled",
    "UnreadableResponse",
    "Unsupported",
    "VerifyClaim",
    "Watch",
    "__version__",
    "all_ready",
]

# A name is imported when it is first asked for: pytest loads this package in every project that has it installed, for
# its plugin, and a program should pay for what it uses.
_HOMES = {
    "client": "Consul",
    "compatibility": "Capabilities",
    "errors": (
        "BadRequest Closed Conflict ConnectionFailed ConsulError InvalidRequest NoLeader NotFound NotReady "
        "OutcomeUnknown PermissionDenied RequestTimeout ResponseTooLarge ServerError SettingsError Throttled "
        "UnreadableResponse Unsupported"
    ),
    "structs.ca": "CAConfig CAConfiguration ProviderConfig Root Roots",
    "structs.intentions": (
        "HTTPPermission HeaderPermission Intention JWTProviderRequirement JWTRequirement Permission VerifyClaim"
    ),
    "structs.spiffe": "SpiffeId",
    "transport.metadata": "Meta",
    "transport.options": "Options",
    "transport.response": "Reply",
    "watch.changes": "Added Batch Change Changed Removed",
    "watch.protocol.pacing": "PollSettings",
    "watch.protocol.status": "Event Status",
    "watch.query": "Query",
    "watch.subscription": "Cursor",
    "watch.watch": "Watch all_ready",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """The public name, from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__]
