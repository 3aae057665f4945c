"""Does the kernel have ESP? Ask it: add one security association for each family, delete it.

Runs inside a fresh network namespace (``python -m tests.lane.esp``), started by
:mod:`tests.lane.probe`. Standard library only, and independent of the product's own encoder:
this is the eye that judges whether the product can be tested at all. Layouts are those of
``linux/xfrm.h``. The last line of output is ``esp: ok`` or ``esp: ERRNO-NAME (what failed)``.
"""

import errno
import ipaddress
import socket
import struct
import sys
from typing import Final

NETLINK_XFRM: Final = 6
XFRM_MSG_NEWSA: Final = 0x10
XFRM_MSG_DELSA: Final = 0x11
XFRMA_ALG_AUTH: Final = 1
XFRMA_ALG_CRYPT: Final = 2
_REQUEST_ACK: Final = 0x1 | 0x4
_CREATE_EXCL: Final = 0x400 | 0x200
_NLMSG_ERROR: Final = 2
_NO_LIMIT: Final = (1 << 64) - 1
_SPI: Final = 0x5AD
_PAIRS: Final = (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"))


def _address(text: str) -> tuple[bytes, int]:
    address = ipaddress.ip_address(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return address.packed.ljust(16, b"\0"), family


def _algorithm(kind: int, name: bytes, key: bytes) -> bytes:
    # struct xfrm_algo behind a struct nlattr: name[64], length in bits, key.
    body = struct.pack("=64sI", name, len(key) * 8) + key
    return struct.pack("=HH", 4 + len(body), kind) + body


def new_sa(source: str, destination: str) -> bytes:
    """Return the body of XFRM_MSG_NEWSA for one transport-mode ESP association."""
    source_bytes, family = _address(source)
    destination_bytes, _ = _address(destination)
    selector = struct.pack("=32s4HH3B3xiI", b"", 0, 0, 0, 0, family, 0, 0, 0, 0, 0)
    identity = struct.pack("=16s4sB3x", destination_bytes, struct.pack(">I", _SPI), 50)
    limits = struct.pack("=8Q", *[_NO_LIMIT] * 4, 0, 0, 0, 0)
    counters = struct.pack("=4Q3I", 0, 0, 0, 0, 0, 0, 0)
    rest = struct.pack("=IIHBBB7x", 0, 0, family, 0, 0, 0)
    return (
        selector
        + identity
        + source_bytes
        + limits
        + counters
        + rest
        + _algorithm(XFRMA_ALG_AUTH, b"hmac(sha1)", bytes(range(20)))
        + _algorithm(XFRMA_ALG_CRYPT, b"cbc(aes)", bytes(range(16)))
    )


def delete_sa(destination: str) -> bytes:
    """Return the body of XFRM_MSG_DELSA for the association of :func:`new_sa`."""
    destination_bytes, family = _address(destination)
    return struct.pack("=16s4sHBx", destination_bytes, struct.pack(">I", _SPI), family, 50)


def _ask(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_ACK | flags, 1, 0) + body)
    answer = netlink.recv(65536)
    _, answer_kind = struct.unpack_from("=IH", answer)
    (code,) = struct.unpack_from("=i", answer, 16)
    if answer_kind != _NLMSG_ERROR:
        raise OSError(errno.EPROTO, f"netlink answered with message type {answer_kind}")
    if code:
        raise OSError(-code, "refused")


def main() -> int:
    """Print the verdict; the exit status is 0 whenever there is a verdict."""
    doing = "no XFRM"
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as netlink:
            netlink.settimeout(20)
            for source, destination in _PAIRS:
                doing = f"adding an SA to {destination}"
                _ask(netlink, XFRM_MSG_NEWSA, _CREATE_EXCL, new_sa(source, destination))
                doing = f"deleting the SA to {destination}"
                _ask(netlink, XFRM_MSG_DELSA, 0, delete_sa(destination))
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error))
        print(f"esp: {name} ({doing})")
    else:
        print("esp: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
