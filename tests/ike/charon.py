"""A real charon in a network namespace: start, ask, kill, hang, stop; with its log.

``charon-systemd`` as the unit starts it, but for the folder of its settings, log and socket.
"""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import vici

from tests.support.daemon import PATIENCE, wait_until
from tests.support.namespaces import Namespace

#: ``retransmit_*``: a peer that does not answer is given up after some seconds.
_SETTINGS: Final = """\
charon-systemd {{
  load = random nonce openssl hmac kdf pem pkcs1 pkcs8 x509 pubkey constraints revocation \
kernel-netlink socket-default eap-md5 eap-identity md5 vici
  install_routes = no
  threads = 8
  retransmit_tries = 3
  retransmit_timeout = 0.5
  delete_rekeyed_delay = 1
  filelog {{
    log {{
      path = {folder}/charon.log
      default = 1
      flush_line = yes
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{folder}/charon.vici
    }}
  }}
}}
"""


class RealCharon:
    """strongSwan under a folder of its own."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.socket = folder / "charon.vici"
        self._log = folder / "charon.log"
        self._settings = folder / "strongswan.conf"
        self._process: subprocess.Popen[str] | None = None
        folder.mkdir(parents=True)
        self._settings.write_text(_SETTINGS.format(folder=folder))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {"STRONGSWAN_CONF": str(self._settings), "PATH": os.environ["PATH"]}
        self._process = self.namespace.popen(
            ["charon-systemd"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "charon answers")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), self.session() as session:
            session.version()
            return True
        return False

    def words(self) -> str:
        """What it has logged."""
        return self._log.read_text() if self._log.exists() else ""

    @contextlib.contextmanager
    def session(self) -> Iterator[vici.Session]:
        """Have the ``vici`` package's own blocking client for a moment."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.socket))
            yield vici.Session(connection)

    def ask(self, command: str, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run a command that answers at once."""
        with self.session() as session:
            return dict(session.request(command, message))

    def told(
        self, command: str, event: str, message: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Run a command that streams; raise CommandException if it fails."""
        with self.session() as session:
            return [dict(m) for m in session.streamed_request(command, event, message)]

    def sas(self) -> dict[str, Any]:
        """List its IKE SAs by name."""
        return {name: sa for m in self.told("list-sas", "list-sa") for name, sa in m.items()}

    # --- harm ------------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL, at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop in order."""
        if self._process is None or self._process.poll() is not None:
            return
        self.go_on()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"charon did not stop:\n{self.words()}") from None
