"""/v1/agent/self and /v1/status: what the agent says of itself."""

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.context import Box
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import Ask


class System:
    """The handlers of one agent."""

    def __init__(self, box: Box) -> None:
        self.box = box

    async def self(self, ask: Ask) -> Reply:
        """The part of the agent's configuration that tools look at; the rest is not modelled and not there."""
        box, quirks = self.box, self.box.quirks
        who = box.acl.resolve(ask.token)
        box.acl.require(who, "agent", "read", box.node_name)
        config: Object = {"Datacenter": box.datacenter}
        if quirks.primary_datacenter:
            config["PrimaryDatacenter"] = box.datacenter
        config |= {"NodeName": box.node_name, "NodeID": box.node_id, "Revision": "", "Server": True}
        config["Version"] = quirks.release
        if quirks.build_date:
            config["BuildDate"] = "1970-01-01T00:00:01Z"
        debug: Object = {"ConnectEnabled": True, "ConnectSidecarMaxPort": 21255, "ConnectSidecarMinPort": 21000}
        if quirks.default_intention_policy:
            debug["DefaultIntentionPolicy"] = ""
        member = {"Name": box.node_name, "Tags": {"dc": box.datacenter, "role": "consul"}}
        return Reply({"Config": config, "DebugConfig": debug, "Member": member, "Stats": {}, "Meta": {}})

    async def leader(self, ask: Ask) -> Reply:  # noqa: ARG002 - it looks at nothing
        """The address of the leader."""
        return Reply("127.0.0.1:8300")

    async def peers(self, ask: Ask) -> Reply:  # noqa: ARG002 - it looks at nothing
        """The addresses of the servers."""
        return Reply(["127.0.0.1:8300"])
