"""A SIP server that asks and asks while the daemon is busy, and how long it waited."""

import contextlib
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from sip_hooks.client import CallError, Client, ClientError
from tests.support.daemon import ASSOCIATIONS, CONTROL, PATIENCE, Daemon
from tests.support.make import CK, EDGE_ADDRESS, IK, security_client

#: Between two questions: the prober shares its processor with the daemon in User-mode Linux.
PAUSE_SECONDS: Final = 0.01


class Prober:
    """Asks Find, Get and Offer in turn, from a thread of its own, until :meth:`stop`.

    ``known`` is an association that lives all the time, as the socket tells it.
    """

    def __init__(self, daemon: Daemon, known: dict[str, Any]) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []
        self._client = Client(str(daemon.socket), timeout=PATIENCE)
        self._known = known
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        with self._client:
            while not self._over.is_set():
                for method, parameters in self._round(next(self._numbers)):
                    begun = time.monotonic()
                    try:
                        self._client.call(method, parameters)
                    except ClientError as error:
                        self.failures.append(f"{method}: {error}")
                    self.seconds[method.rpartition(".")[2]].append(time.monotonic() - begun)
                    self._over.wait(PAUSE_SECONDS)

    def _round(self, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        parameters = self._known["ipsec3gpp"]
        flow = {
            "peerAddress": parameters["ueAddress"],
            "peerPort": parameters["portUc"],
            "localAddress": parameters["pcscfAddress"],
            "localPort": parameters["portPs"],
        }
        yield f"{ASSOCIATIONS}.Find", {"flow": flow}
        yield f"{ASSOCIATIONS}.Get", {"id": self._known["id"]}
        yield f"{ASSOCIATIONS}.Offer", _offer(number)

    def stop(self) -> None:
        """End the asking and wait for its end."""
        self._over.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def longest(self) -> float:
        """The longest wait of all, in seconds."""
        return max(itertools.chain.from_iterable(self.seconds.values()))

    def words(self) -> str:
        """The waits in milliseconds: count, median and longest of each method."""
        return ", ".join(
            f"{method} {len(waits)} times, median {1e3 * sorted(waits)[len(waits) // 2]:.0f}, "
            f"longest {1e3 * max(waits):.0f} ms"
            for method, waits in self.seconds.items()
        )


def _offer(number: int) -> dict[str, Any]:
    address = f"10.200.{number >> 8 & 255}.{number & 255}"
    return {
        "endpoint": "access",
        "registration": {"privateIdentity": f"probe{number}@ims", "publicIdentities": []},
        "flow": {
            "peerAddress": address,
            "peerPort": 5060,
            "localAddress": EDGE_ADDRESS,
            "localPort": 5060,
        },
        "transaction": {"callId": f"probe{number}", "cseq": 1, "branch": "z9hG4bKprobe"},
        "association": None,
        "securityClient": [security_client()],
        "integrityKey": IK.hex(),
        "cipherKey": CK.hex(),
    }


def first_answers(
    daemon: Daemon, patience: float = PATIENCE, pause: float = PAUSE_SECONDS
) -> dict[str, list[str]]:
    """Ask a daemon that is starting for its status and for a call; return what it said.

    Until it is ready: the states it named, and the refusals of the call.
    """
    said: dict[str, list[str]] = {"states": [], "refusals": []}
    end = time.monotonic() + patience
    with Client(str(daemon.socket), timeout=PATIENCE) as client:
        while time.monotonic() < end:
            daemon.require_alive()
            with contextlib.suppress(ClientError):
                said["states"].append(client.call(f"{CONTROL}.GetStatus", {})["state"])
                if said["states"][-1] == "ready":
                    return said
                try:
                    client.call(f"{ASSOCIATIONS}.Get", {"id": "0" * 32})
                except CallError as refusal:
                    said["refusals"].append(refusal.short_name)
            time.sleep(pause)
    raise AssertionError(f"not ready in {patience:.0f} s:\n{daemon.words()}")
