"""
Async client for the service mesh of HashiCorp Consul (Connect).

It reads, writes and watches intentions, follows the roots of the certificate authority, and covers services, leaf
certificates, instances, config entries and discovery chains. README.md shows whole programs.

- `Consul`: the client, and the only entry point. `consul.authorizer("db")` decides in the process who may connect.
- `aioconsulconnect.structs`: the structs of every resource (config entries, registrations, instances, leaf
  certificates, chains); those of intentions and roots have their names here too.
- `aioconsulconnect.testing`: an in-process Consul agent for tests (extra `aioconsulconnect[testing]`).
"""

from typing import TYPE_CHECKING

from aioconsulconnect.lazy import lazy_names
from aioconsulconnect.version import __version__ as __version__

if TYPE_CHECKING:
    from aioconsulconnect import authorization as authorization, structs as structs, testing as testing
    from aioconsulconnect.authorization.access import AccessChange as AccessChange
    from aioconsulconnect.authorization.authorizer import Authorizer as Authorizer
    from aioconsulconnect.authorization.authorizer_status import (
        AuthorizerStatus as AuthorizerStatus,
        Decision as Decision,
    )
    from aioconsulconnect.authorization.findings import lint as lint
    from aioconsulconnect.authorization.rules.request import HTTPRequest as HTTPRequest
    from aioconsulconnect.authorization.rules.source import Peer as Peer
    from aioconsulconnect.authorization.rules.verdict import Verdict as Verdict, VerdictReason as VerdictReason
    from aioconsulconnect.client import Consul as Consul
    from aioconsulconnect.clock import Clock as Clock
    from aioconsulconnect.compatibility import Capabilities as Capabilities
    from aioconsulconnect.endpoints.arguments import HealthSelection as HealthSelection, Selection as Selection
    from aioconsulconnect.errors import (
        BadRequest as BadRequest,
        Closed as Closed,
        Conflict as Conflict,
        ConnectionFailed as ConnectionFailed,
        ConsulError as ConsulError,
        ErrorReason as ErrorReason,
        InvalidRequest as InvalidRequest,
        NoLeader as NoLeader,
        NotFound as NotFound,
        NotReady as NotReady,
        OutcomeUnknown as OutcomeUnknown,
        PermissionDenied as PermissionDenied,
        RequestTimeout as RequestTimeout,
        ResponseTooLarge as ResponseTooLarge,
        ServerError as ServerError,
        SettingsError as SettingsError,
        Throttled as Throttled,
        UnreadableResponse as UnreadableResponse,
        Unsupported as Unsupported,
    )
    from aioconsulconnect.structs.ca import (
        CAConfig as CAConfig,
        CAConfiguration as CAConfiguration,
        ProviderConfig as ProviderConfig,
        Root as Root,
        Roots as Roots,
    )
    from aioconsulconnect.structs.intentions import (
        HeaderPermission as HeaderPermission,
        HTTPPermission as HTTPPermission,
        Intention as Intention,
        IntentionKey as IntentionKey,
        JWTProviderRequirement as JWTProviderRequirement,
        JWTRequirement as JWTRequirement,
        Permission as Permission,
        VerifyClaim as VerifyClaim,
    )
    from aioconsulconnect.structs.spiffe import SpiffeId as SpiffeId
    from aioconsulconnect.transport.metadata import Meta as Meta
    from aioconsulconnect.transport.response import Reply as Reply
    from aioconsulconnect.transport.settings.connection import ConnectionSettings as ConnectionSettings
    from aioconsulconnect.transport.settings.http_client import (
        ConnectorArguments as ConnectorArguments,
        SessionFactory as SessionFactory,
    )
    from aioconsulconnect.transport.settings.options import Consistency as Consistency, Options as Options
    from aioconsulconnect.transport.settings.token_source import TokenProvider as TokenProvider
    from aioconsulconnect.watch.changes import (
        Added as Added,
        Batch as Batch,
        Change as Change,
        Changed as Changed,
        Ignore as Ignore,
        Removed as Removed,
    )
    from aioconsulconnect.watch.iterators import Changes as Changes, Snapshots as Snapshots, States as States
    from aioconsulconnect.watch.protocol.poll_settings import PollSettings as PollSettings
    from aioconsulconnect.watch.protocol.status import (
        Counters as Counters,
        Event as Event,
        Hook as Hook,
        PollRecord as PollRecord,
        State as State,
        Status as Status,
    )
    from aioconsulconnect.watch.query import Delivery as Delivery, Query as Query
    from aioconsulconnect.watch.subscription import Cursor as Cursor
    from aioconsulconnect.watch.watch import Watch as Watch, all_ready as all_ready
    from aioconsulconnect.workflows.plan import Plan as Plan
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "": "authorization structs testing",
            "authorization.access": "AccessChange",
            "authorization.authorizer": "Authorizer",
            "authorization.authorizer_status": "AuthorizerStatus Decision",
            "authorization.findings": "lint",
            "authorization.rules.request": "HTTPRequest",
            "authorization.rules.source": "Peer",
            "authorization.rules.verdict": "Verdict VerdictReason",
            "client": "Consul",
            "clock": "Clock",
            "compatibility": "Capabilities",
            "endpoints.arguments": "HealthSelection Selection",
            "errors": (
                "BadRequest Closed Conflict ConnectionFailed ConsulError ErrorReason InvalidRequest NoLeader "
                "NotFound NotReady OutcomeUnknown PermissionDenied RequestTimeout ResponseTooLarge ServerError "
                "SettingsError Throttled UnreadableResponse Unsupported"
            ),
            "structs.ca": "CAConfig CAConfiguration ProviderConfig Root Roots",
            "structs.intentions": (
                "HTTPPermission HeaderPermission Intention IntentionKey JWTProviderRequirement JWTRequirement "
                "Permission VerifyClaim"
            ),
            "structs.spiffe": "SpiffeId",
            "transport.metadata": "Meta",
            "transport.settings.options": "Consistency Options",
            "transport.response": "Reply",
            "transport.settings.http_client": "ConnectorArguments SessionFactory",
            "transport.settings.connection": "ConnectionSettings",
            "transport.settings.token_source": "TokenProvider",
            "watch.changes": "Added Batch Change Changed Ignore Removed",
            "watch.iterators": "Changes Snapshots States",
            "watch.protocol.poll_settings": "PollSettings",
            "watch.protocol.status": "Counters Event Hook PollRecord State Status",
            "watch.query": "Delivery Query",
            "watch.subscription": "Cursor",
            "watch.watch": "Watch all_ready",
            "workflows.plan": "Plan",
        },
    )
