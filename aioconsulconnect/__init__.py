"""
Async client for Consul's service mesh (Connect): intentions you can watch, a certificate authority you can follow.

`Consul` is the door; README.md shows what a program looks like. The structs of everything beside intentions and roots
(config entries, registrations, instances, leaves, chains) are in `aioconsulconnect.structs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aioconsulconnect.version import __version__

if TYPE_CHECKING:
    from aioconsulconnect.changes import Added, Batch, Change, Changed, Removed
    from aioconsulconnect.client import Consul
    from aioconsulconnect.consumer import Cursor
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
    from aioconsulconnect.options import Meta, Options
    from aioconsulconnect.pacing import PollSettings
    from aioconsulconnect.request import Reply
    from aioconsulconnect.spiffe import SpiffeId
    from aioconsulconnect.status import Event, Status
    from aioconsulconnect.versions import Capabilities
    from aioconsulconnect.watch import Query, Watch, all_ready
    from aioconsulconnect.wire.ca import CAConfig, CAConfiguration, ProviderConfig, Root, Roots
    from aioconsulconnect.wire.intentions import (
        HeaderPermission,
        HTTPPermission,
        Intention,
        JWTProviderRequirement,
        JWTRequirement,
        Permission,
        VerifyClaim,
    )

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
    "changes": "Added Batch Change Changed Removed",
    "client": "Consul",
    "consumer": "Cursor",
    "errors": (
        "BadRequest Closed Conflict ConnectionFailed ConsulError InvalidRequest NoLeader NotFound NotReady "
        "OutcomeUnknown PermissionDenied RequestTimeout ResponseTooLarge ServerError SettingsError Throttled "
        "UnreadableResponse Unsupported"
    ),
    "options": "Meta Options",
    "pacing": "PollSettings",
    "request": "Reply",
    "spiffe": "SpiffeId",
    "status": "Event Status",
    "versions": "Capabilities",
    "watch": "Query Watch all_ready",
    "wire.ca": "CAConfig CAConfiguration ProviderConfig Root Roots",
    "wire.intentions": (
        "HTTPPermission HeaderPermission Intention JWTProviderRequirement JWTRequirement Permission VerifyClaim"
    ),
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
