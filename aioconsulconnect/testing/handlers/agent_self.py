"""`/v1/agent/self` and `/v1/status`: the agent's own configuration, and the servers."""

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest


class System:
    """The handlers of `/v1/agent/self` and `/v1/status` for one agent."""

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
        debug: Object = {"ConnectEnabled": True, "ConnectSidecarMaxPort": 21255, "ConnectSidecarMinPort": 21000}
        if facts.default_intention_policy:
            debug["DefaultIntentionPolicy"] = ""
        member = {"Name": context.node_name, "Tags": {"dc": context.datacenter, "role": "consul"}}
        return Reply({"Config": config, "DebugConfig": debug, "Member": member, "Stats": {}, "Meta": {}})

    async def leader(self, request: ConsulRequest) -> Reply:  # noqa: ARG002 - it looks at nothing
        """Answer with the address of the leader (`GET /v1/status/leader`)."""
        return Reply("127.0.0.1:8300")

    async def peers(self, request: ConsulRequest) -> Reply:  # noqa: ARG002 - it looks at nothing
        """Answer with the addresses of the servers (`GET /v1/status/peers`)."""
        return Reply(["127.0.0.1:8300"])
