"""The named types of ``org.sipsad.Associations``, field by field as in its ``.varlink`` file.

Counterpart: :mod:`sad.api.messages`, which holds the inputs and outputs of the methods and shows
these under the same names.
"""

from typing import Literal

from sad.api.wire import Address, CallId, HexKey, Identities, Identity, Int, Message, Word
from sad.model.association import AssociationState as State
from sad.model.association import EndReason
from sad.model.endpoint import Role
from sad.model.sa_pair import Activation


class Registration(Message, frozen=True, kw_only=True):
    """The binding that an association serves."""

    private_identity: Identity
    public_identities: Identities


class UdpEncapsulation(Message, frozen=True, kw_only=True):
    """ESP in UDP through a NAT."""

    peer_address: Address
    peer_port: Int
    local_port: Int


class Ipsec3gpp(Message, frozen=True, kw_only=True):
    """One SA set by the names of TS 33.203 7.1."""

    ue_address: Address
    pcscf_address: Address
    spi_uc: Int
    spi_us: Int
    spi_pc: Int
    spi_ps: Int
    port_uc: Int
    port_us: Int
    port_pc: Int
    port_ps: Int
    integrity_algorithm: Word
    encryption_algorithm: Word
    udp_encapsulation: UdpEncapsulation | None


class Ipsec3gppRequest(Message, frozen=True, kw_only=True):
    """One SA set to install. Holds keys, so it does not print."""

    ue_address: Address
    pcscf_address: Address
    spi_uc: Int | None = None
    spi_us: Int | None = None
    spi_pc: Int | None = None
    spi_ps: Int | None = None
    port_uc: Int | None = None
    port_us: Int | None = None
    port_pc: Int | None = None
    port_ps: Int | None = None
    integrity_algorithm: Word
    encryption_algorithm: Word
    integrity_key: HexKey
    cipher_key: HexKey | None = None
    udp_encapsulation: UdpEncapsulation | None = None

    def __repr__(self) -> str:
        return f"Ipsec3gppRequest({self.ue_address!r}, {self.pcscf_address!r}, keys hidden)"


class IpsecMan(Message, frozen=True, kw_only=True):
    """One manually keyed pair of SAs; ``key_set`` is a name, no key."""

    local_address: Address
    peer_address: Address
    spi_in: Int
    spi_out: Int
    local_ports: tuple[Int, ...]
    peer_ports: tuple[Int, ...]
    integrity_algorithm: Word
    encryption_algorithm: Word
    key_set: str
    activation: Activation


class Tls(Message, frozen=True, kw_only=True):
    """The connection of an association of mechanism tls."""

    local_address: Address
    local_port: Int
    peer_address: Address
    peer_port: Int
    attached: bool
    identity: str | None
    credential: str | None
    version: str | None
    cipher: str | None


class TlsSession(Message, frozen=True, kw_only=True):
    """What a handshake showed, by the word of who terminates TLS."""

    identity: Identity | None = None
    credential: Word | None = None
    version: Word | None = None
    cipher: Word | None = None


class IpsecIke(Message, frozen=True, kw_only=True):
    """The CHILD_SA of an association, by its names in the IKE daemon."""

    local_address: Address
    peer_address: Address
    local_ports: tuple[Int, ...]
    peer_ports: tuple[Int, ...]
    connection: str
    child: str


class Association(Message, frozen=True, kw_only=True):
    """One agreement; ``*_at`` in real-time microseconds."""

    id: str
    endpoint: str
    role: Role
    mechanism: str
    state: State
    end_reason: EndReason | None
    registration: Registration
    ipsec3gpp: Ipsec3gpp | None
    ipsec_man: IpsecMan | None
    tls: Tls | None
    ipsec_ike: IpsecIke | None
    created_at: Int
    confirmed_at: Int
    expires_at: Int
    seconds_left: Int
    note: str | None


class SaCounters(Message, frozen=True, kw_only=True):
    """Counters of one SA."""

    name: str
    direction: Literal["in", "out"]
    spi: Int
    bytes: Int
    packets: Int
    replay_failures: Int
    integrity_failures: Int
    last_used_at: Int


class Transaction(Message, frozen=True, kw_only=True):
    """What made a REGISTER one of a kind."""

    call_id: CallId
    cseq: Int
    branch: CallId


class Refusal(Message, frozen=True, kw_only=True):
    """Why an offer was not taken."""

    offer_index: Int
    mechanism: str
    reason: str
    text: str
    rule: str
