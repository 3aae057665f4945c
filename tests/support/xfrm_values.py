"""Values of :mod:`netlink.model` for tests: legal by default, strategies for all the rest."""

import ipaddress
from typing import Final, TypeAlias

from hypothesis import strategies as st

from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    Direction,
    Encapsulation,
    Mode,
    MoveLifetime,
    ObservedPolicy,
    ObservedSa,
    Policy,
    PolicyAction,
    PolicyId,
    ReplayState,
    SaId,
    SaKeys,
    SecurityAssociation,
    Selector,
    ShortenSa,
    Template,
    UpdatePolicy,
)
from netlink.reference import GetInfo, GetPolicy, GetSa, Request
from netlink.secret import Secret
from netlink.transforms import Combined, Encryption, Integrity
from netlink.uapi import XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO

OWNER: Final = 0x5AD0_0001

SHA1: Final = Integrity(name="hmac(sha1)", key_bits=160, icv_bits=96)
MD5: Final = Integrity(name="hmac(md5)", key_bits=128, icv_bits=96)
NULL: Final = Encryption(name="ecb(cipher_null)", key_bits=0)
AES: Final = Encryption(name="cbc(aes)", key_bits=128)
DES3: Final = Encryption(name="cbc(des3_ede)", key_bits=192)
SHA256: Final = Integrity(name="hmac(sha256)", key_bits=256, icv_bits=128)
GCM: Final = Combined(name="rfc4106(gcm(aes))", key_bits=160, icv_bits=128)
GMAC: Final = Combined(name="rfc4543(gcm(aes))", key_bits=160, icv_bits=128)
Pair: TypeAlias = tuple[Integrity, Encryption] | tuple[None, Combined]
PAIRS: Final[tuple[Pair, ...]] = (
    *((i, e) for i in (SHA1, MD5, SHA256) for e in (NULL, AES, DES3)),
    (None, GCM),
    (None, GMAC),
)


def name_of(pair: Pair) -> str:
    """Names a pair in a test's id."""
    integrity, encryption = pair
    return f"{integrity.name if integrity else 'alone'}-{encryption.name}"


ADDRESSES: Final = {4: ("192.0.2.1", "198.51.100.2"), 6: ("2001:db8::1", "2001:db8:ffff::2")}


def full_prefix(address: str) -> int:
    return ipaddress.ip_address(address).max_prefixlen


def selector(source: str, destination: str, *, owner: int = OWNER, port: int = 0) -> Selector:
    """Host to host, with a destination port or with any."""
    return Selector(
        source=source,
        source_prefix=full_prefix(source),
        destination=destination,
        destination_prefix=full_prefix(destination),
        destination_port=port,
        destination_port_mask=0xFFFF if port else 0,
        owner=owner,
    )


def security_association(
    spi: int = 0x1000,
    *,
    version: int = 4,
    hard_add_seconds: int = 0,
    replay_window: int = 64,
    hard_packets: int = 0,
    pair: Pair = (SHA1, NULL),
    owner: int = OWNER,
    encapsulation: Encapsulation | None = None,
) -> SecurityAssociation:
    """In transport mode; in tunnel mode, with the same addresses inside, if encapsulated."""
    source, destination = ADDRESSES[version]
    return SecurityAssociation(
        id=SaId(destination, spi),
        source=source,
        reqid=0x2000_0000 + spi,
        selector=selector(source, destination, owner=owner),
        integrity=pair[0],
        encryption=pair[1],
        replay_window=replay_window,
        hard_add_seconds=hard_add_seconds,
        hard_packets=hard_packets,
        mode=Mode.TRANSPORT if encapsulation is None else Mode.TUNNEL,
        encapsulation=encapsulation,
    )


def keys_for(sa: SecurityAssociation, seed: int = 1) -> SaKeys:
    """Keys of the right lengths in which no two bytes of a key are equal."""

    def key(bits: int, salt: int) -> Secret:
        return Secret(bytes((salt + i) % 251 + 1 for i in range(bits // 8)))

    return SaKeys(
        integrity=key(sa.integrity.key_bits if sa.integrity else 0, seed),
        encryption=key(sa.encryption.key_bits, seed + 99),
    )


def add_sa(
    sa: SecurityAssociation,
    replay: ReplayState | None = None,
    current: CurrentLifetime | None = None,
    *,
    tell_counters: bool = False,
) -> AddSa:
    return AddSa(
        sa=sa, keys=keys_for(sa), replay=replay, current=current, tell_counters=tell_counters
    )


def policy(
    port: int = 5060,
    *,
    version: int = 4,
    hard_add_seconds: int = 0,
    direction: Direction = Direction.OUT,
    action: PolicyAction = PolicyAction.ALLOW,
    priority: int = 1000,
    owner: int = OWNER,
) -> Policy:
    """Demand ESP for a destination port, or block it."""
    source, destination = ADDRESSES[version]
    demand = Template(source=source, destination=destination, reqid=0x2000_1000)
    return Policy(
        id=PolicyId(direction, selector(source, destination, owner=owner, port=port)),
        action=action,
        priority=priority,
        template=demand if action is PolicyAction.ALLOW else None,
        hard_add_seconds=hard_add_seconds,
    )


def observed_sa(spi: int = 0x1000, *, version: int = 4) -> ObservedSa:
    """What a kernel would say of :func:`security_association`, never used."""
    sa = security_association(spi, version=version)
    return ObservedSa(
        id=sa.id,
        source=sa.source,
        reqid=sa.reqid,
        selector=sa.selector,
        mode=sa.mode,
        hard_add_seconds=sa.hard_add_seconds,
        hard_packets=sa.hard_packets,
        current=CurrentLifetime(bytes=0, packets=0, add_time=1_700_000_000, use_time=0),
        replay_window=sa.replay_window,
        replay_failures=0,
        integrity_failures=0,
    )


# --- anything that the model can say -------------------------------------------------------------


def _number(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


def _address(version: int) -> st.SearchStrategy[str]:
    return st.ip_addresses(v=4 if version == 4 else 6).map(lambda address: address.compressed)


def selectors(version: int) -> st.SearchStrategy[Selector]:
    prefix = st.integers(0, 32 if version == 4 else 128)
    return st.builds(
        Selector,
        source=_address(version),
        source_prefix=prefix,
        destination=_address(version),
        destination_prefix=prefix,
        source_port=_number(16),
        source_port_mask=_number(16),
        destination_port=_number(16),
        destination_port_mask=_number(16),
        protocol=_number(8),
        owner=_number(32),
    )


def sa_ids(version: int) -> st.SearchStrategy[SaId]:
    return st.builds(SaId, _address(version), _number(32), _number(8))


def encapsulations() -> st.SearchStrategy[Encapsulation]:
    return st.builds(Encapsulation, source_port=_number(16), destination_port=_number(16))


@st.composite
def associations(draw: st.DrawFn, version: int) -> SecurityAssociation:
    integrity, encryption = draw(st.sampled_from(PAIRS))
    return SecurityAssociation(
        id=draw(sa_ids(version)),
        source=draw(_address(version)),
        reqid=draw(_number(32)),
        selector=draw(selectors(version)),
        integrity=integrity,
        encryption=encryption,
        replay_window=draw(st.sampled_from([0, 1, 31, 32, 33, 64, 1000, 4096])),
        hard_add_seconds=draw(_number(64)),
        hard_packets=draw(st.sampled_from([0, 1, 1 << 23, (1 << 64) - 2])),
        mode=draw(st.sampled_from(Mode)),
        encapsulation=draw(st.none() | encapsulations()),
    )


def _not_wiped(key: bytes) -> bool:
    return not key or any(key)


def replay_states() -> st.SearchStrategy[ReplayState]:
    return st.builds(ReplayState, sent=_number(32), received=_number(32))


@st.composite
def additions(draw: st.DrawFn, version: int) -> AddSa:
    sa = draw(associations(version))

    def key(bits: int) -> Secret:
        size = bits // 8
        return Secret(draw(st.binary(min_size=size, max_size=size).filter(_not_wiped)))

    integrity = key(sa.integrity.key_bits if sa.integrity else 0)
    keys = SaKeys(integrity=integrity, encryption=key(sa.encryption.key_bits))
    return AddSa(
        sa=sa,
        keys=keys,
        replay=draw(st.none() | replay_states()),
        current=draw(st.none() | lifetimes()),
        tell_counters=draw(st.booleans()),
    )


def lifetimes() -> st.SearchStrategy[CurrentLifetime]:
    return st.builds(
        CurrentLifetime,
        bytes=_number(64),
        packets=_number(64),
        add_time=_number(64),
        use_time=_number(64),
    )


def templates(version: int) -> st.SearchStrategy[Template]:
    return st.builds(
        Template,
        source=_address(version),
        destination=_address(version),
        reqid=_number(32),
        mode=st.sampled_from(Mode),
        protocol=_number(8),
    )


def policy_ids(version: int) -> st.SearchStrategy[PolicyId]:
    return st.builds(PolicyId, st.sampled_from(Direction), selectors(version))


def policies(version: int) -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        id=policy_ids(version),
        action=st.sampled_from(PolicyAction),
        priority=_number(32),
        template=st.none() | templates(version),
        hard_add_seconds=_number(64),
    )


def _requests(version: int) -> st.SearchStrategy[Request]:
    return st.one_of(
        additions(version),
        associations(version).map(ShortenSa),
        st.builds(
            MoveLifetime,
            id=sa_ids(version),
            source=_address(version),
            reqid=_number(32),
            current=lifetimes(),
        ),
        sa_ids(version).map(DeleteSa),
        sa_ids(version).map(GetSa),
        policies(version).map(AddPolicy),
        policies(version).map(UpdatePolicy),
        policy_ids(version).map(DeletePolicy),
        policy_ids(version).map(GetPolicy),
        st.sampled_from([XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO]).map(GetInfo),
    )


REQUESTS: Final = _requests(4) | _requests(6)


def _observed_sas(version: int) -> st.SearchStrategy[ObservedSa]:
    plain = _observed_of(version, st.sampled_from(Mode), st.none())
    return plain | _observed_of(version, st.just(Mode.TUNNEL), encapsulations())


def _observed_of(
    version: int, modes: st.SearchStrategy[Mode], udp: st.SearchStrategy[Encapsulation | None]
) -> st.SearchStrategy[ObservedSa]:
    return st.builds(
        ObservedSa,
        id=sa_ids(version),
        source=_address(version),
        reqid=_number(32),
        selector=selectors(version),
        mode=modes,
        encapsulation=udp,
        hard_add_seconds=_number(64),
        hard_packets=st.integers(0, (1 << 64) - 2),  # all ones: no limit
        current=lifetimes(),
        replay_window=_number(8) | st.integers(256, 4096),
        replay_failures=_number(32),
        integrity_failures=_number(32),
    )


def _observed_policies(version: int) -> st.SearchStrategy[ObservedPolicy]:
    return st.builds(
        ObservedPolicy,
        id=policy_ids(version),
        action=st.sampled_from(PolicyAction),
        priority=_number(32),
        index=_number(32),
        template=st.none() | templates(version),
        hard_add_seconds=_number(64),
        add_time=_number(64),
    )


OBSERVED_SAS: Final = _observed_sas(4) | _observed_sas(6)
OBSERVED_POLICIES: Final = _observed_policies(4) | _observed_policies(6)
