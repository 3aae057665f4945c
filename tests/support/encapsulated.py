"""Sockets that take ESP out of UDP (RFC 3948), for tests on the real kernel."""

import socket

from netlink.uapi import IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP
from tests.support.namespaces import Namespace


def encapsulating_socket(namespace: Namespace, address: str, port: int = 4500) -> socket.socket:
    """Bind a UDP socket whose ESP the kernel takes out by itself."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.enter():
        opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    opened.bind((address, port))
    return opened
