"""A service on a real Unix socket that answers calls word for word from a script.

For what a sound daemon never says: the counterpart of a client's error paths.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def reply(parameters: object, **flags: bool) -> bytes:
    """A reply as bytes."""
    return json.dumps({"parameters": parameters, **flags}).encode() + b"\0"


def error(name: str, /, **parameters: object) -> bytes:
    """An error reply as bytes."""
    return json.dumps({"error": name, "parameters": parameters}).encode() + b"\0"


class ScriptedService:
    """Answers each connection's first call with the next line of its script."""

    def __init__(self, listening: socket.socket, script: Sequence[bytes | None]) -> None:
        self.calls: list[dict[str, Any]] = []
        self._listening = listening
        self._script = script
        self._held: list[socket.socket] = []

    def serve(self) -> None:
        """Serve one connection for each line; None holds it open without a word."""
        for line in self._script:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # the test is over
                return
            call = b""
            while not call.endswith(b"\0"):
                call += connection.recv(65536)
            self.calls.append(json.loads(call[:-1]))
            if line is None:
                self._held.append(connection)
                continue
            with connection:
                connection.sendall(line)

    def close(self) -> None:
        """Hang up on everybody."""
        for connection in self._held:
            connection.close()


@contextlib.contextmanager
def scripted_service(path: Path, *script: bytes | None) -> Iterator[ScriptedService]:
    """Serve a script at ``path`` from another thread."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        service = ScriptedService(listening, script)
        thread = threading.Thread(target=service.serve)
        thread.start()
        try:
            yield service
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            service.close()
