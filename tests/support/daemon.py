"""A real daemon in a network namespace: start, ask, kill, stop; with its log and settings."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sip_hooks.client import Client, Unreachable
from tests.support.make import ALL_PAIRS
from tests.support.namespaces import Namespace

ASSOCIATIONS = "org.sipsad.Associations"
CONTROL = "org.sipsad.Control"

#: A guest kernel is slower than a host: a setting, not a promise.
PATIENCE = float(os.environ.get("SAD_TEST_PATIENCE", "30"))


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition; fail with its name when patience ends."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(0.01)


class Daemon:
    """``sad`` under a folder of its own; :meth:`call` speaks to its socket."""

    def __init__(self, namespace: Namespace, folder: Path, settings: str) -> None:
        self.namespace = namespace
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "sad.sock"
        self.log = folder / "sad.log"
        self.config = folder / "sad.toml"
        self.config.write_text(
            f'socket_path = "{self.socket}"\nstate_directory = "{folder / "state"}"\n' + settings
        )
        self.client = Client(str(self.socket), timeout=PATIENCE)
        self._process: subprocess.Popen[str] | None = None

    def spawn(self, *, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start it and do not wait; ``wrapper`` is put before its command."""
        command = [*wrapper, sys.executable, "-W", "error", "-m", "sad"]
        with self.log.open("a") as log:
            self._process = self.namespace.popen(
                [*command, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self._process

    def start(self) -> "Daemon":
        """Start it and wait until it is ready."""
        self.spawn()
        return self.wait_ready()

    def wait_ready(self) -> "Daemon":
        """Wait until a started one is ready; fail with its words if it ended."""

        def ready() -> bool:
            self.require_alive()
            with contextlib.suppress(Unreachable):
                return bool(self.status()["state"] == "ready")
            return False

        try:
            wait_until(ready, "sad is ready")
        except AssertionError as error:
            error.add_note(self.words())
            raise
        return self

    def require_alive(self) -> None:
        """Fail with its words if it has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"sad ended with {self._process.returncode}:\n{self.words()}")

    def words(self) -> str:
        """What it has logged."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def reload(self, config: str) -> None:
        """Write the settings file anew, have it read, and wait until that was done or refused."""
        before = self.words().count("settings")
        self.config.write_text(config)
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.words().count("settings") > before, "the settings are read")

    def kill(self) -> None:
        """SIGKILL, at once."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Stop in order; return the exit status."""
        self.client.close()
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"sad did not stop:\n{self.words()}") from None

    # --- asking ----------------------------------------------------------------------------------

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call ``org.sipsad.Associations``."""
        return self.client.call(f"{ASSOCIATIONS}.{method}", parameters)

    def status(self) -> dict[str, Any]:
        """Ask for the status."""
        return self.client.call(f"{CONTROL}.GetStatus", {})

    def reconcile(self) -> dict[str, Any]:
        """Have kernel and journal compared."""
        return dict(self.client.call(f"{CONTROL}.Reconcile", {})["reconcile"])

    def associations(self) -> list[dict[str, Any]]:
        """List what lives."""
        rows = self.client.stream(f"{ASSOCIATIONS}.List", {})
        return [r["association"] for r in rows if r["association"] is not None]

    def sadctl(self, *arguments: str) -> str:
        """Run ``sadctl`` as a person would; return what it printed."""
        return self.namespace.run(
            [sys.executable, "-m", "sad.ctl", "--socket", str(self.socket), *arguments]
        ).stdout


@contextlib.contextmanager
def running(namespace: Namespace, folder: Path, settings: str) -> Iterator[Daemon]:
    """Run a daemon for the length of a block."""
    daemon = Daemon(namespace, folder, settings)
    try:
        yield daemon.start()
    finally:
        daemon.stop()


def endpoint_settings(
    name: str,
    addresses: tuple[str, ...],
    server_port: int,
    client_ports: str,
    *,
    role: str = "edge",
    extra: str = "",
) -> str:
    """Settings of one endpoint with every algorithm on, usable by root."""
    pairs = [f"{alg}/{ealg}" for alg, ealg in ALL_PAIRS]
    return (
        f"\n[[endpoint]]\nname = {json.dumps(name)}\naddresses = {json.dumps(addresses)}\n"
        f"server_port = {server_port}\nclient_ports = {json.dumps(client_ports)}\n"
        f'users = [{os.getuid()}]\nroles = ["{role}"]\n'
        f"algorithms = {json.dumps(pairs)}\naccept_withdrawn_algorithms = true\n"
        f"accept_extension_algorithms = true\n{extra}"
    )
