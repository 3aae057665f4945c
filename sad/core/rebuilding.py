"""How SAs that somebody deleted are made again: same SPIs, same keys, later sequence numbers.

RFC 4303 3.3.3 forbids a sequence number twice under one key, and the peer's window (3.4.3) drops
what it has seen. What was sent since the last word of the kernel is not known after a flush, so
each rebuild leaps further than any SA of SIP signalling gets.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from netlink.model import AddSa, ReplayState, SaId, SaKeys
from netlink.secret import Secret
from sad.core.desired import NamedSa
from sad.core.nonces import BLOCK, MOST_REBUILDS
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association
from sad.model.key_record import KeyRecord, PairRecord

#: Packets; a busy set sends some hundred of them in its life.
LEAP: Final = BLOCK
#: Sequence numbers have 32 bits: after the last leap there is room for one more LEAP of packets.
MOST_LEAPS: Final = (1 << 32) // LEAP - 1

_NEVER: Final = ReplayState()


def most_leaps(association: Association) -> int:
    """Return how often a set may be rebuilt; no IV may occur twice (T33-I-b)."""
    s = association.xfrm
    pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
    return MOST_REBUILDS if pair.combined else MOST_LEAPS


def first_record(
    association: Association, integrity_key: Secret, cipher_key: Secret | None
) -> KeyRecord:
    """Return the record of a set that is installed with these keys; it shares them."""
    s = association.xfrm
    pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
    return KeyRecord(
        integrity_key=integrity_key, cipher_key=cipher_key if pair.needs_cipher_key else None
    )


def next_record(
    association: Association, record: KeyRecord, heard: Mapping[SaId, ReplayState]
) -> KeyRecord | None:
    """Return the record of the next rebuild; None if sequence numbers or IVs are used up.

    ``heard`` are the numbers with which SAs ended, where the kernel has told them.
    """
    s = association.xfrm
    sent = (heard.get(SaId(s.peer_address, spi), _NEVER).sent for spi in s.peer_spis)
    leaps = max(record.leaps, *(number // LEAP for number in sent)) + 1
    if leaps > most_leaps(association):
        return None
    received = tuple(
        max(known, heard.get(SaId(s.local_address, spi), _NEVER).received)
        for spi, known in zip(s.local_spis, record.received, strict=True)
    )
    return dataclasses.replace(record, leaps=leaps, received=received)


def plan_rebuild(
    missing: Sequence[NamedSa], association: Association, record: KeyRecord, keys: SaKeys
) -> tuple[AddSa, ...]:
    """Return the operations that add the missing SAs of a set."""
    received = dict(zip(association.xfrm.local_spis, record.received, strict=True))
    return tuple(
        AddSa(
            sa=n.sa,
            keys=keys,
            replay=ReplayState(received=received[n.sa.id.spi])
            if n.inbound
            else ReplayState(sent=record.leaps * LEAP),
        )
        for n in missing
    )


def plan_pair_rebuild(missing: Sequence[NamedSa], record: PairRecord) -> tuple[AddSa, ...]:
    """Return the operations that add the missing SAs of a manually keyed pair.

    It has no replay window, so what was received does not matter.
    """
    return tuple(
        AddSa(sa=n.sa, keys=record.inbound)
        if n.inbound
        else AddSa(sa=n.sa, keys=record.outbound, replay=start_of(record.leaps))
        for n in missing
    )


def start_of(leaps: int) -> ReplayState:
    """Return the state of an outbound SA after so many leaps."""
    return ReplayState(sent=leaps * LEAP)
