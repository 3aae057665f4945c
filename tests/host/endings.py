"""What a daemon tells of bindings and endings, and when it was heard."""

import contextlib
import os
import threading
import time

from sip_hooks.client import Client, Unreachable
from tests.support.daemon import ASSOCIATIONS, PATIENCE, Daemon, wait_until

#: How many times slower than a machine with nothing else to do this one may be: ``make test`` is
#: to find an end that nobody heard of, not a busy machine. 1 holds it to the design's times.
SLOWNESS = float(os.environ.get("SAD_TEST_SLOWNESS", "20"))
#: Design 9: what a first request may wait for its association, and how soon an end is told. The
#: kernel's part is below a millisecond, the rest is this machine's other work.
BOUND_WITHIN, ENDED_WITHIN = 0.050 * SLOWNESS, 0.100 * SLOWNESS


class Ended(threading.Thread):
    """Reads the Monitor stream; ``heard`` is instant and reason by association.

    ``bound`` is the instant at which a TLS connection had its association, by the peer's port.
    """

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.heard: dict[str, tuple[float, str]] = {}
        self.bound: dict[int, float] = {}
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
                association = reply["association"]
                if reply["event"] == "added":
                    self.bound.setdefault(association["tls"]["peerPort"], time.monotonic())
                if reply["event"] == "ended":
                    self.heard[association["id"]] = time.monotonic(), association["endReason"]

    def wait_for(self, association_id: str) -> tuple[float, str]:
        """Return when it was heard, and why it ended."""
        wait_until(lambda: association_id in self.heard, "the end is told")
        return self.heard[association_id]
