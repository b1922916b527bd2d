"""Names of services in words, with what tells one of another partition, namespace or peer apart."""

from __future__ import annotations

from aioconsulconnect.errors import redact


def in_words(name: str, *, namespace: str, partition: str, peer: str = "", sameness_group: str = "") -> str:
    """
    Return the name of a service as users write it: `db`, `billing/db`, `peer:dc2/db`.

    - `name`, `namespace`, `partition`: the service; the default namespace and partition are left out.
    - `peer`, `sameness_group`: peer or sameness group that it belongs to; empty for a local service.
    """
    name = name if name.isprintable() else repr(name)  # it may be on its way into a log
    if partition not in {"", "default"}:
        name = f"{partition}/{namespace}/{name}"
    elif namespace != "default":
        name = f"{namespace}/{name}"
    group = f"sameness-group:{sameness_group}/" if sameness_group else ""
    return redact((f"peer:{peer}/" if peer else group) + name)
