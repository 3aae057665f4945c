"""What a test UE is configured with, and the numbers of TS 24.229 it lives by.

Pure. The counterpart of a USIM and of the settings of a handset.
"""

from dataclasses import dataclass, field

from tests.ue.flow import HostPort
from tests.ue.headers import parse_uri
from tests.ue.transaction import Timers

DEFAULT_ALGORITHMS = (("hmac-sha-1-96", "aes-cbc"), ("hmac-sha-1-96", "null"))
REG_AWAIT_AUTH_SECONDS = 240.0  # TS 24.229 7.8
REGISTRATION_MARGIN_SECONDS = 30.0  # T24-UE-4


@dataclass(frozen=True, slots=True, kw_only=True)
class UeConfig:
    """Settings of one UE.

    ``pcscf`` and ``port`` are the unprotected ports of both sides. ``secure=False``: no RFC 3329
    at all, everything travels between these two. ``port_us`` 0: any free port of
    ``protected_ports``. ``datagram_limit``: larger requests go by TCP (RFC 3261 18.1.1).
    ``cross_pairs`` and ``answer_from_server_port`` make the UE as lax as some real ones
    (INTEROP-1); ``delivery`` is the transport that its Contact asks for. ``behind_nat``: it may
    be behind one, so it offers UDP-enc-tun, too, and holds UDP port 4500 for that (T33-M-b).
    """

    private_identity: str
    public_identity: str
    domain: str
    k: bytes = field(repr=False)
    opc: bytes = field(repr=False)
    address: str
    pcscf: HostPort
    port: int = 5060
    transport: str = "UDP"
    delivery: str | None = None
    secure: bool = True
    algorithms: tuple[tuple[str, str], ...] = DEFAULT_ALGORITHMS
    port_us: int = 0
    protected_ports: tuple[int, int] = (10000, 29999)
    expires: int = 600_000
    timers: Timers = field(default_factory=Timers)
    reg_await_auth: float = REG_AWAIT_AUTH_SECONDS
    datagram_limit: int = 1300
    cross_pairs: bool = False
    answer_from_server_port: bool = False
    behind_nat: bool = False
    verify_in_ack: bool = True  # GAP-2
    namespace: str | None = None
    sqn: int = 0

    @property
    def user(self) -> str:
        return parse_uri(self.public_identity).user or "ue"

    @property
    def registrar(self) -> str:
        """The Request-URI of REGISTER and the uri of its credentials."""
        return f"sip:{self.domain}"


def next_registration_in(granted: float) -> float:
    """Seconds after which a UE registers again (T24-UE-7)."""
    return granted - 600 if granted > 1200 else granted / 2
