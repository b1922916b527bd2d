"""
Async client for Consul's service mesh (Connect): intentions you can watch, a certificate authority you can follow.

`Consul` is the door; README.md shows what a program looks like.
"""

from aioconsulconnect.changes import Added, Batch, Change, Changed, Removed
from aioconsulconnect.client import Consul
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
from aioconsulconnect.polls import PollSettings
from aioconsulconnect.request import Reply
from aioconsulconnect.version import __version__
from aioconsulconnect.watch import Query, Watch
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
    "Change",
    "Changed",
    "Closed",
    "Conflict",
    "ConnectionFailed",
    "Consul",
    "ConsulError",
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
    "Throttled",
    "UnreadableResponse",
    "Unsupported",
    "VerifyClaim",
    "Watch",
    "__version__",
]
