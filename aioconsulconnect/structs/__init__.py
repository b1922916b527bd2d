"""
Structs of everything that Consul sends or takes, under one import.

They cover config entries with their parts, registrations, instances, certificates and discovery chains, and the keys
that identify items in a watch. All are frozen; `msgspec.structs.replace` makes a changed copy. `dump_entries` and
`read_entries` keep config entries as JSON.
"""

from typing import TYPE_CHECKING

from aioconsulconnect.lazy import lazy_names

if TYPE_CHECKING:
    from aioconsulconnect.structs.agent import (
        AgentInfo as AgentInfo,
        AgentService as AgentService,
        AgentServiceKey as AgentServiceKey,
        Authorization as Authorization,
        Check as Check,
        Leaf as Leaf,
        LeafKey as LeafKey,
        Sidecar as Sidecar,
    )
    from aioconsulconnect.structs.ca import (
        CAConfig as CAConfig,
        CAConfiguration as CAConfiguration,
        ProviderConfig as ProviderConfig,
        Root as Root,
        RootKey as RootKey,
        Roots as Roots,
    )
    from aioconsulconnect.structs.catalog import (
        Address as Address,
        CatalogInstance as CatalogInstance,
        CatalogService as CatalogService,
        CatalogServiceKey as CatalogServiceKey,
        GatewayService as GatewayService,
        GatewayServiceKey as GatewayServiceKey,
        HealthCheck as HealthCheck,
        HealthStatus as HealthStatus,
        Instance as Instance,
        InstanceKey as InstanceKey,
        Node as Node,
        NodeKey as NodeKey,
        ServiceInstance as ServiceInstance,
        ServiceRef as ServiceRef,
    )
    from aioconsulconnect.structs.config_entries.access import (
        CertificateProviderInstance as CertificateProviderInstance,
        Consumer as Consumer,
        ExportedService as ExportedService,
        ExportedServices as ExportedServices,
        JSONWebKeySet as JSONWebKeySet,
        JWKSCluster as JWKSCluster,
        JWTCacheConfig as JWTCacheConfig,
        JWTForwarding as JWTForwarding,
        JWTLocation as JWTLocation,
        JWTLocationCookie as JWTLocationCookie,
        JWTLocationHeader as JWTLocationHeader,
        JWTLocationQueryParam as JWTLocationQueryParam,
        JWTProvider as JWTProvider,
        LocalJWKS as LocalJWKS,
        RemoteJWKS as RemoteJWKS,
        RetryPolicy as RetryPolicy,
        RetryPolicyBackOff as RetryPolicyBackOff,
        ServiceIntentions as ServiceIntentions,
        SourceIntention as SourceIntention,
        TLSCertificates as TLSCertificates,
        TrustedCA as TrustedCA,
    )
    from aioconsulconnect.structs.config_entries.defaults import (
        Destination as Destination,
        FailoverPolicy as FailoverPolicy,
        InstanceRateLimits as InstanceRateLimits,
        Mesh as Mesh,
        MeshHTTP as MeshHTTP,
        MeshHTTPIncoming as MeshHTTPIncoming,
        MeshPeering as MeshPeering,
        MeshTLS as MeshTLS,
        MeshTLSDirection as MeshTLSDirection,
        MeshTransparentProxy as MeshTransparentProxy,
        PassiveHealthCheck as PassiveHealthCheck,
        PrioritizeByLocality as PrioritizeByLocality,
        ProxyDefaults as ProxyDefaults,
        RateLimitRoute as RateLimitRoute,
        RateLimits as RateLimits,
        RequestNormalization as RequestNormalization,
        ServiceDefaults as ServiceDefaults,
        UpstreamConfig as UpstreamConfig,
        UpstreamLimits as UpstreamLimits,
        UpstreamOverride as UpstreamOverride,
    )
    from aioconsulconnect.structs.config_entries.discovery_chain import (
        ChainFailover as ChainFailover,
        ChainNode as ChainNode,
        ChainOverrides as ChainOverrides,
        ChainResolver as ChainResolver,
        ChainRoute as ChainRoute,
        ChainSplit as ChainSplit,
        ChainTarget as ChainTarget,
        DiscoveryChain as DiscoveryChain,
        DiscoveryChainKey as DiscoveryChainKey,
    )
    from aioconsulconnect.structs.config_entries.gateways import (
        GatewayTLS as GatewayTLS,
        GatewayTLSSDS as GatewayTLSSDS,
        IngressDefaults as IngressDefaults,
        IngressGateway as IngressGateway,
        IngressListener as IngressListener,
        IngressService as IngressService,
        LinkedService as LinkedService,
        TerminatingGateway as TerminatingGateway,
    )
    from aioconsulconnect.structs.config_entries.kinds import (
        Entry as Entry,
        EntryKey as EntryKey,
        KnownEntry as KnownEntry,
        UnknownEntry as UnknownEntry,
        dump_entries as dump_entries,
        read_entries as read_entries,
    )
    from aioconsulconnect.structs.config_entries.traffic import (
        CookieConfig as CookieConfig,
        Failover as Failover,
        FailoverTarget as FailoverTarget,
        HashPolicy as HashPolicy,
        HeaderModifiers as HeaderModifiers,
        LeastRequestConfig as LeastRequestConfig,
        LoadBalancer as LoadBalancer,
        Redirect as Redirect,
        RingHashConfig as RingHashConfig,
        Route as Route,
        RouteDestination as RouteDestination,
        RouteHeaderMatch as RouteHeaderMatch,
        RouteHTTPMatch as RouteHTTPMatch,
        RouteMatch as RouteMatch,
        RouteQueryParamMatch as RouteQueryParamMatch,
        ServiceResolver as ServiceResolver,
        ServiceRouter as ServiceRouter,
        ServiceSplitter as ServiceSplitter,
        Split as Split,
        Subset as Subset,
    )
    from aioconsulconnect.structs.intentions import (
        Action as Action,
        HeaderPermission as HeaderPermission,
        HTTPPermission as HTTPPermission,
        Intention as Intention,
        IntentionKey as IntentionKey,
        JWTProviderRequirement as JWTProviderRequirement,
        JWTRequirement as JWTRequirement,
        MatchKey as MatchKey,
        Permission as Permission,
        VerifyClaim as VerifyClaim,
    )
    from aioconsulconnect.structs.proxy import (
        AccessLogs as AccessLogs,
        Connect as Connect,
        EnvoyExtension as EnvoyExtension,
        Expose as Expose,
        ExposePath as ExposePath,
        Locality as Locality,
        MeshGateway as MeshGateway,
        PeerMeta as PeerMeta,
        Proxy as Proxy,
        ServiceKind as ServiceKind,
        TaggedAddress as TaggedAddress,
        TransparentProxyConfig as TransparentProxyConfig,
        Upstream as Upstream,
        Weights as Weights,
    )
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "agent": "AgentInfo AgentService AgentServiceKey Authorization Check Leaf LeafKey Sidecar",
            "ca": "CAConfig CAConfiguration ProviderConfig Root RootKey Roots",
            "catalog": (
                "Address CatalogInstance CatalogService CatalogServiceKey GatewayService GatewayServiceKey HealthCheck "
                "HealthStatus Instance InstanceKey Node NodeKey ServiceInstance ServiceRef"
            ),
            "config_entries.access": (
                "CertificateProviderInstance Consumer ExportedService ExportedServices JSONWebKeySet JWKSCluster "
                "JWTCacheConfig JWTForwarding JWTLocation JWTLocationCookie JWTLocationHeader "
                "JWTLocationQueryParam JWTProvider LocalJWKS RemoteJWKS RetryPolicy RetryPolicyBackOff "
                "ServiceIntentions SourceIntention TLSCertificates TrustedCA"
            ),
            "config_entries.defaults": (
                "Destination FailoverPolicy InstanceRateLimits Mesh MeshHTTP MeshHTTPIncoming MeshPeering MeshTLS "
                "MeshTLSDirection MeshTransparentProxy PassiveHealthCheck PrioritizeByLocality ProxyDefaults "
                "RateLimitRoute RateLimits RequestNormalization ServiceDefaults UpstreamConfig UpstreamLimits "
                "UpstreamOverride"
            ),
            "config_entries.discovery_chain": (
                "ChainFailover ChainNode ChainOverrides ChainResolver ChainRoute ChainSplit ChainTarget "
                "DiscoveryChain DiscoveryChainKey"
            ),
            "config_entries.gateways": (
                "GatewayTLS GatewayTLSSDS IngressDefaults IngressGateway IngressListener IngressService "
                "LinkedService TerminatingGateway"
            ),
            "config_entries.kinds": "Entry EntryKey KnownEntry UnknownEntry dump_entries read_entries",
            "config_entries.traffic": (
                "CookieConfig Failover FailoverTarget HashPolicy HeaderModifiers LeastRequestConfig LoadBalancer "
                "Redirect RingHashConfig Route RouteDestination RouteHTTPMatch RouteHeaderMatch RouteMatch "
                "RouteQueryParamMatch ServiceResolver ServiceRouter ServiceSplitter Split Subset"
            ),
            "intentions": (
                "Action HTTPPermission HeaderPermission Intention IntentionKey JWTProviderRequirement "
                "JWTRequirement MatchKey Permission VerifyClaim"
            ),
            "proxy": (
                "AccessLogs Connect EnvoyExtension Expose ExposePath Locality MeshGateway PeerMeta Proxy "
                "ServiceKind TaggedAddress TransparentProxyConfig Upstream Weights"
            ),
        },
    )
