"""A man in the middle between a user agent and its first hop, who changes what passes (UDP)."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.support.namespaces import Namespace
from tests.ue.sip import Request, Response, parse

Message = Request | Response
_TURN_SECONDS = 0.2


class Meddler:
    """Stands at ``address`` port 5060 for the first hop ``server``.

    The first hop answers to where a packet came from, with the port that Via names, so there he
    takes the user agent's port. ``seen`` is what passed, as it was sent.
    """

    def __init__(
        self, namespace: Namespace, address: str, server: tuple[str, int], ue: tuple[str, int]
    ) -> None:
        self.on_request: Callable[[Request], Request] = lambda request: request
        self.on_response: Callable[[Response], Response] = lambda response: response
        self.seen: list[Message] = []
        self._server, self._ue = server, ue
        with namespace.enter():
            self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((address, 5060))
        self._back.bind((address, ue[1]))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._front.close()
        self._back.close()

    def replay(self, request: Request) -> None:
        """Send something once more, as it is, to the first hop."""
        self._back.sendto(request.encode(), self._server)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._front, selectors.EVENT_READ)
            selector.register(self._back, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(_TURN_SECONDS):
                    with contextlib.suppress(OSError):
                        self._pass(key.fileobj)

    def _pass(self, come_to: object) -> None:
        if come_to is self._front:
            message = parse(self._front.recv(65535), stream=False)
            self.seen.append(message)
            assert isinstance(message, Request)
            self._back.sendto(self.on_request(message).encode(), self._server)
            return
        message = parse(self._back.recv(65535), stream=False)
        self.seen.append(message)
        changed = message if isinstance(message, Request) else self.on_response(message)
        self._front.sendto(changed.encode(), self._ue)
