"""A server that is not the first hop, and takes TLS in its place."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from tests.edge.certificates import Files
from tests.support.daemon import PATIENCE
from tests.support.namespaces import Namespace


@contextlib.contextmanager
def impostor(
    namespace: Namespace, address: str, files: Files
) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one connection with a certificate; give the port, and what is said to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    heard: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as connection:
                while data := connection.recv(65535):
                    heard.append(data)

    with namespace.enter():
        listener = socket.create_server((address, 0))
    listener.settimeout(PATIENCE)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        thread.join()
        listener.close()
