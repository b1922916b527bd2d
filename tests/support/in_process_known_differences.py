"""Where the in-process agent answers otherwise than the recordings, and why."""

_LATE_OUTPUT = (
    "a passing check reported with a note: Consul tells the catalog of a new output alone minutes later, unless the "
    "check is just being synchronised, which 1.16.6 was at that moment"
)

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
    "1.16": {
        ("plain", name): _LATE_OUTPUT
        for name in (
            "kinds health connect: shop",
            "kinds health connect: merged",
            "kinds health service: cached",
            "kinds health connect: first",
            "kinds health connect: blocking times out",
        )
    },
    "1.22": {},
}

_NOT_MODELLED = {
    "services session create": "sessions are not modelled",
    "services txn": "transactions are not modelled",
    "services event": "events are not modelled",
}
_OF_THE_INTERFACE = {"services internal ui": "what only Consul's own user interface asks for is not modelled"}
_TWO_OF_ONE_ID = "of two checks with one id in one registration, the agent by chance tells the catalog of none"
_LATE_TELLS = dict.fromkeys(("services hnode", "services hstate"), _TWO_OF_ONE_ID)
_LATE_ADDRESS = dict.fromkeys(
    (
        "services service web-px",
        "services service tp-px",
        "services service px7",
        'services services filter ID matches "web.*"',
    ),
    "the agent learns the virtual address of its own proxy when it next compares all it has with the catalog",
)
_ORDER = {
    "services cat services": "tags come in the order of a Go map",
    "services agent health name": "instances come in the order of a Go map",
}
# first part of the recording's name → version → name of the exchange → reason
KNOWN_OF_SAMPLES: dict[str, dict[str, dict[str, str]]] = {
    "services": {
        "1.8": _NOT_MODELLED,
        "1.10": _NOT_MODELLED | _ORDER,
        "1.16": _NOT_MODELLED | _OF_THE_INTERFACE | _LATE_TELLS,
        "1.22": _NOT_MODELLED | _OF_THE_INTERFACE | _LATE_TELLS | _LATE_ADDRESS,
    },
    "entries": {},
}
