"""/v1/agent/self and /v1/status: what the agent says of itself."""

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest


class System:
    """The handlers of one agent."""

    def __init__(self, context: AgentContext) -> None:
        self.context = context

    async def self(self, request: ConsulRequest) -> Reply:
        """The part of the agent's configuration that tools look at; the rest is not modelled and not there."""
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
        """The address of the leader."""
        return Reply("127.0.0.1:8300")

    async def peers(self, request: ConsulRequest) -> Reply:  # noqa: ARG002 - it looks at nothing
        """The addresses of the servers."""
        return Reply(["127.0.0.1:8300"])
