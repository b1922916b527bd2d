"""Where the box answers otherwise than the recordings, and why."""

# version → (agent, name of the exchange) → reason
KNOWN: dict[str, dict[tuple[str, str], str]] = {
    "1.8": {},
    "1.10": {
        (
            "plain",
            "leaf after rotation",
        ): "1.10.12 served this one read from its cache, though it asks the server for every"
        " other one without an index; nothing in the recording tells the two apart"
    },
    "1.16": {},
    "1.22": {},
}
