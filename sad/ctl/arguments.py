"""Addresses, flows and states as people type them. Pure; errors are those of argparse."""

from argparse import ArgumentTypeError
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final, NamedTuple

#: The states by their names on the wire, in the order of a life.
STATES: Final = ("temporary", "established", "inUse", "retiring", "ended")


#: The pairs of an endpoint as ``sad.toml`` is shipped.
ALGORITHMS: Final = ("hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null")


class SocketAddress(NamedTuple):
    """An address and a port of a flow."""

    address: str
    port: int


def ip_address(text: str) -> str:
    """Return an IPv4 or IPv6 address, with or without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        inet_pton(AF_INET6 if ":" in bare else AF_INET, bare)
    except OSError:
        raise ArgumentTypeError(
            f"{text!r} is no IP address: write 192.0.2.1 or 2001:db8::1"
        ) from None
    return bare


def socket_address(text: str) -> SocketAddress:
    """Return the two parts of ``192.0.2.1:5060`` or ``[2001:db8::1]:5060``."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise ArgumentTypeError(
            f"{text!r} is no address with port: write 192.0.2.1:5060 or [2001:db8::1]:5060"
        )
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ArgumentTypeError(f"{port!r} in {text!r} is no port: write 1 to 65535")
    return SocketAddress(ip_address(host), int(port))


def state(text: str) -> str:
    """Return a state by its name on the wire; ``in-use`` and ``INUSE`` mean ``inUse``."""
    wanted = text.replace("-", "").lower()
    for known in STATES:
        if known.lower() == wanted:
            return known
    raise ArgumentTypeError(f"{text!r} is no state: write one of {', '.join(STATES)}")


def seconds(text: str) -> int:
    """Return a span in whole seconds, 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ArgumentTypeError(f"{text!r} is no span: write whole seconds")
    return int(text)


_SPANS: Final = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86_400}


def span(text: str) -> int:
    """Return a span in seconds from ``600``, ``10min``, ``2h`` or ``1d``."""
    digits = text.rstrip("".join(sorted(set("".join(_SPANS)))))
    unit = text[len(digits) :]
    if unit not in _SPANS or not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise ArgumentTypeError(f"{text!r} is no span: write seconds, or e.g. 10min, 2h, 1d")
    return int(digits) * _SPANS[unit]


def timeout(text: str) -> float:
    """Return a time-out in seconds, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise ArgumentTypeError(f"{text!r} is no time-out: write seconds above 0, e.g. 2.5")
    return value


def association_id(text: str) -> str:
    """Return an association's id or the beginning of it."""
    if not text:
        raise ArgumentTypeError("an id is empty: sadctl list shows them")
    return text


class Instant(NamedTuple):
    """An instant in seconds: of the real-time clock, or from now on."""

    seconds: float
    from_now: bool

    def at(self, now: float) -> float:
        """Return it in seconds of the real-time clock."""
        return now + self.seconds if self.from_now else self.seconds


def instant(text: str) -> Instant:
    """Return the instant of ``2027-01-01T00:00:00Z`` or ``+90d``."""
    if text.startswith("+"):
        return Instant(span(text[1:]), from_now=True)
    import datetime as dt  # noqa: PLC0415 - only here: sadctl starts fast

    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ArgumentTypeError(
            f"{text!r} is no date with time and zone: write 2027-01-01T00:00:00Z, or +90d"
        )
    return Instant(when.timestamp(), from_now=False)


def number(text: str) -> int:
    """Return a whole number, decimal or 0x and hex digits."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 63:
        raise ArgumentTypeError(f"{text!r} is no whole number: write 4097 or 0x1001")
    return value


def ports(text: str) -> list[int]:
    """Return the ports of ``5064`` or ``5064,5068``."""
    found = [part.strip() for part in text.split(",")]
    if not all(p.isascii() and p.isdigit() and 1 <= int(p) <= 65535 for p in found):
        raise ArgumentTypeError(f"{text!r} are no ports: write 5064 or 5064,5068")
    return [int(p) for p in found]


def descriptor(text: str) -> int:
    """Return a file descriptor; 0 is standard input."""
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise ArgumentTypeError("this is no descriptor: write --key-fd 3, and 3<FILE behind it")
    return int(text)
