"""`/v1/agent/self`, `/v1/status` and their like: what an agent tells of itself and of whom it knows."""

from typing import Final

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.context import AgentContext, Found
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest

_SERVER: Final = "127.0.0.1:8300"


class System:
    """The handlers of one agent that tell what it is and whom it knows."""

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def self(self, request: ConsulRequest) -> Reply:
        """Answer with the configuration of the agent (`GET /v1/agent/self`), as far as tools read it.

        The rest is not modelled and left out.
        """
        context, facts = self.context, self.context.facts
        who = context.acl.resolve(request.token)
        context.acl.require(who, "agent", "read", context.node_name)
        config: Object = {"Datacenter": context.datacenter}
        if facts.primary_datacenter:
            config["PrimaryDatacenter"] = context.datacenter
        config |= {"NodeName": context.node_name, "NodeID": context.node_id, "Revision": "", "Server": True}
        config["Version"] = facts.release
        if facts.build_date:
            config["BuildDate"] = "1970-01-01T00:00:01Z"
        debug: Object = {"ConnectEnabled": context.connect, "ConnectSidecarMaxPort": 21255}
        debug |= {"ConnectSidecarMinPort": 21000, "SerfAdvertiseAddrLAN": "tcp://127.0.0.1:8301"}
        if facts.default_intention_policy:
            debug["DefaultIntentionPolicy"] = ""
        servers: Object = {"acl": "enabled" if context.acl.enabled else "disabled", "bootstrap": "false"}
        servers |= {"known_datacenters": "1", "leader": "true", "leader_addr": _SERVER, "server": "true"}
        return Reply(
            {
                "Config": config,
                "DebugConfig": debug,
                "Coord": {"Vec": [0] * 8, "Error": 1.5, "Adjustment": 0, "Height": 1e-05},
                "Member": self._member(wide=False),
                "Stats": {"consul": servers},
                "Meta": context.node["Meta"],
            }
        )

    def _member(self, *, wide: bool) -> Object:
        """The agent as a member of the gossip pool, or with `wide` of that of the datacenters."""
        context, facts = self.context, self.context.facts
        tags: Object = {"acls": str(int(context.acl.enabled)), "build": f"{facts.release}{facts.prerelease}:"}
        tags |= {"dc": context.datacenter, "ft_fs": "1", **({"ft_si": "1"} if facts.intentions_are_entries else {})}
        tags |= {"id": context.node_id, "port": "8300", "raft_vsn": "3", "role": "consul", "segment": ""}
        tags |= {"vsn": "2", "vsn_max": "3", "vsn_min": "2", **({} if wide else {"wan_join_port": "8302"})}
        return {
            "Name": f"{context.node_name}.{context.datacenter}" if wide else context.node_name,
            "Addr": "127.0.0.1",
            "Port": 8302 if wide else 8301,
            "Tags": tags,
            "Status": 1,
            "ProtocolMin": 1,
            "ProtocolMax": 5,
            "ProtocolCur": 2,
            "DelegateMin": 2,
            "DelegateMax": 5,
            "DelegateCur": 4,
        }

    async def members(self, request: ConsulRequest) -> Reply:
        """Answer with the members of the gossip pool, or with `wan` of that of the datacenters.

        `GET /v1/agent/members`.
        """
        context, facts = self.context, self.context.facts
        request.partition_options()
        who = context.acl.resolve(request.token)
        if request.first("segment") not in {"", "_all"}:
            raise Refused(500, "Network segments are not supported in this version of Consul")
        member = self._member(wide=bool(request.first("wan")))
        visible = who.may("node", "read", str(member["Name"]))
        hidden = not visible and who.named and facts.filtered_header
        headers = (("X-Consul-Results-Filtered-By-Acls", "true"),) if hidden else ()
        return Reply([member] if visible else [], headers=headers)

    async def version(self, request: ConsulRequest) -> Reply:  # noqa: ARG002 - it looks at nothing
        """Answer with the version of the agent (`GET /v1/agent/version`)."""
        facts = self.context.facts
        human = f"{facts.release}-{facts.prerelease}" if facts.prerelease else facts.release
        return Reply({"SHA": "", "BuildDate": "1970-01-01T00:00:01Z", "HumanVersion": human, "FIPS": ""})

    async def peerings(self, request: ConsulRequest) -> Reply:
        """Answer with the empty list of peerings (`GET /v1/peerings`)."""
        context = self.context
        request.read_options(besides=[])
        request.partition_options()

        def query() -> Found[list[Object]]:
            context.acl.require(context.acl.resolve(request.token), "peering", "read")
            return Found([], 1, ("peering",))

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found))

    async def coordinates(self, request: ConsulRequest) -> Reply:
        """Answer with the network coordinates of the nodes (`GET /v1/coordinate/nodes`).

        A young agent has none yet.
        """
        context = self.context
        request.read_options()
        request.partition_options()

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            context.acl.resolve(request.token)
            return Found([], 1, ("coordinates",))

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found))

    async def leader(self, request: ConsulRequest) -> Reply:
        """Answer with the address of the leader (`GET /v1/status/leader`)."""
        request.read_options()
        self.context.check_datacenter(request)
        return Reply(_SERVER)

    async def peers(self, request: ConsulRequest) -> Reply:
        """Answer with the addresses of the servers (`GET /v1/status/peers`)."""
        request.read_options()
        self.context.check_datacenter(request)
        return Reply([_SERVER])
