"""What a daemon tells of endings, and when it was heard."""

import contextlib
import threading
import time

from sip_hooks.client import Client, Unreachable
from tests.support.daemon import ASSOCIATIONS, PATIENCE, Daemon, wait_until


class Ended(threading.Thread):
    """Reads the Monitor stream; ``heard`` is instant and reason by association."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.heard: dict[str, tuple[float, str]] = {}
        self._ready = threading.Event()
        client = Client(str(daemon.socket), timeout=PATIENCE)
        self._stream = client.stream(f"{ASSOCIATIONS}.Monitor", {})
        self.start()
        assert self._ready.wait(PATIENCE)

    def run(self) -> None:
        with contextlib.suppress(Unreachable):  # the daemon was stopped
            for reply in self._stream:
                if reply["event"] == "ready":
                    self._ready.set()
                if reply["event"] == "ended":
                    association = reply["association"]
                    self.heard[association["id"]] = time.monotonic(), association["endReason"]

    def wait_for(self, association_id: str) -> tuple[float, str]:
        """Return when it was heard, and why it ended."""
        wait_until(lambda: association_id in self.heard, "the end is told")
        return self.heard[association_id]
