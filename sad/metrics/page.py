"""The metrics as text, in the format that whoever asks prefers."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, generate_latest


class Page:
    """One registry as text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def in_format(self, accept: str) -> tuple[str, bytes]:
        """Return content type and text, by an HTTP Accept header."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def as_file(self) -> bytes:
        """Return the text that node_exporter reads."""
        return generate_latest(self._registry)
