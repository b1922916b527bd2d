"""Selection: which of the nodes and services that were found a request asks for."""

from aioconsulconnect.testing.go_json.values import Object, child, children, text
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.service_registry import Node


def node_fits(request: ConsulRequest, node: Node) -> bool:
    """True if `node` has the metadata that `request` asks for."""
    meta = child(node.definition, "Meta")
    pairs = [pair.partition(":") for pair in request.query.get("node-meta", [])]
    return all(meta.get(key) == value for key, _, value in pairs)


def passing(found: list[Object]) -> list[Object]:
    """The services whose checks all pass; Consul puts the last one in the place of one that it leaves out."""
    kept, at = list(found), 0
    while at < len(kept):
        if all(text(check, "Status") == "passing" for check in children(kept[at], "Checks")):
            at += 1
        else:
            last = kept.pop()
            if at < len(kept):
                kept[at] = last
    return kept
