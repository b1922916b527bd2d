"""Files for TLS in use by an agent and its clients, which are replaced while both run."""

from __future__ import annotations

from pathlib import Path

from support.servers import Keys


class FilesInUse:
    """
    A folder with an authority's certificate, and the certificates and keys of a server and a client.

    Each file is replaced in one step, as tools that renew certificates do; a pair of them takes two steps.
    """

    def __init__(self, folder: Path, keys: Keys) -> None:
        folder.mkdir()
        self._folder = folder
        self.ca = folder / "ca.pem"
        self.server_cert, self.server_key = folder / "server.pem", folder / "server.key"
        self.client_cert, self.client_key = folder / "client.pem", folder / "client.key"
        self.trust(keys)
        self.renew_server(keys)
        self.renew_client(keys)

    def trust(self, *authorities: Keys) -> None:
        """Trust these and no others."""
        self._replace(self.ca, b"".join(keys.ca.read_bytes() for keys in authorities))

    def renew_server(self, keys: Keys) -> None:
        """Replace certificate and key of the server."""
        self._replace(self.server_cert, keys.server_cert.read_bytes())
        self._replace(self.server_key, keys.server_key.read_bytes())

    def renew_client(self, keys: Keys) -> None:
        """Replace certificate and key of the client."""
        self._replace(self.client_cert, keys.client_cert.read_bytes())
        self._replace(self.client_key, keys.client_key.read_bytes())

    def _replace(self, file: Path, content: bytes) -> None:
        new = self._folder / f"{file.name}.new"
        new.write_bytes(content)
        new.replace(file)
