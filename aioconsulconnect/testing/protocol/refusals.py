"""Answers other than success: refusals in Consul's words, and connections that end without an answer."""


class Refused(Exception):
    """An answer other than success: its `status`, and `text`, which is Consul's."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        from_server: bool = False,
        at: int | None = None,
        consistency: str | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.from_server = from_server
        """True if the server refused rather than the HTTP layer: on some paths an index of 1 comes with that."""
        self.at = at
        """The index that comes with the refusal, such as that of a missing configuration entry."""
        self.consistency = consistency
        """The consistency that a read was made with before it was refused; None where none is told."""


class Dropped(Exception):
    """The end of a connection without an answer, as when a handler of Consul panics."""


def refused_by_server(text: str, status: int = 500) -> Refused:
    """Make a refusal by the server behind the HTTP layer, with `text` and `status` (500 by default)."""
    return Refused(status, text, from_server=True)


def failed(text: str) -> Refused:
    """Make a refusal of the HTTP layer with status 500."""
    return Refused(500, text)
