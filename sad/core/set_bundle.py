"""The install of a registration's first SA set as one bundle: what almost every install is.

So is what a takeover installs, whose SAs go on where they stood at another node.

The operations are those of :mod:`sad.core.desired`. The bundle knows where the values of a set lie
in them, and has them made when somebody looks: to take back, or to name an error.
"""

import dataclasses
import functools
import ipaddress
import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from netlink.bundles import Bundle, BundleForm, WireValue, learn_form
from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    Operation,
    ReplayState,
    SaKeys,
    packed_address,
)
from netlink.secret import Secret
from sad.core.desired import policies_of, sas_of
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association, AssociationState, Phase
from sad.model.endpoint import Role
from sad.model.rules import Layout, Lifetimes
from sad.model.sa_set import SaSetParameters

_NUMBERS: Final = struct.Struct(">4I4H")
_CUT: Final = struct.Struct("4s4s4s4s2s2s2s2s")
#: ``struct`` codes of an SPI, a port, a reqid or limit, and an instant.
SPI, PORT, WORD, _LONG = "4s", "2s", "I", "Q"


class Standing(NamedTuple):
    """Where the SAs of a set stand that goes on: sequence numbers, and since when limits count.

    ``sent`` are those of ``peer_spis``, ``received`` of ``local_spis``; ``add_time`` is in
    real-time seconds.
    """

    sent: tuple[int, ...]
    received: tuple[int, ...]
    add_time: int


def first_install(
    new: Association,
    keys: SaKeys,
    layout: Layout,
    lifetimes: Lifetimes,
    now: float,
    standing: Standing | None = None,
) -> Sequence[Operation]:
    """Return the operations that add the first set of a registration: SAs first, then policies."""
    s = new.ipsec_3gpp
    if s is None or not is_plain(s):
        return operations_of(new, keys, layout, lifetimes, now, standing)
    ue, pcscf = packed_address(s.ue_address), packed_address(s.pcscf_address)
    form = _form(
        s.role,
        AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm),
        len(ue),
        layout,
        lifetimes,
        goes_on=standing is not None,
    )
    numbers = _NUMBERS.pack(
        s.spi_uc, s.spi_us, s.spi_pc, s.spi_ps, s.port_uc, s.port_us, s.port_pc, s.port_ps
    )
    values: tuple[WireValue, ...] = (
        ue,
        pcscf,
        *_CUT.unpack(numbers),
        _hard_seconds(new, lifetimes, now),
        new.reqid_in,
        *new.reqid_out,
    )
    if standing is not None:
        values = (*values, *standing.sent, *standing.received, standing.add_time)
    return Bundle(
        form,
        values,
        (keys.integrity, keys.encryption),
        functools.partial(operations_of, new, keys, layout, lifetimes, now, standing),
    )


def operations_of(
    new: Association,
    keys: SaKeys,
    layout: Layout,
    lifetimes: Lifetimes,
    now: float,
    standing: Standing | None = None,
) -> Sequence[Operation]:
    """Return the same as plain operations."""
    tell = layout.tell_counters
    named = sas_of(new, layout, lifetimes, now)
    sas: Sequence[Operation] = [AddSa(sa=n.sa, keys=keys, tell_counters=tell) for n in named]
    if standing is not None:
        sas = going_on(sas, new, standing)
    return (*sas, *map(AddPolicy, policies_of((new,), layout, lifetimes).values()))


def going_on(
    operations: Sequence[Operation], new: Association, standing: Standing
) -> list[Operation]:
    """Return the same operations, with SAs that go on from where they stood."""
    s = new.xfrm
    replay = {
        (s.peer_address, spi): ReplayState(sent=number)
        for spi, number in zip(s.peer_spis, standing.sent, strict=True)
    } | {
        (s.local_address, spi): ReplayState(received=number)
        for spi, number in zip(s.local_spis, standing.received, strict=True)
    }
    origin = CurrentLifetime(bytes=0, packets=0, add_time=standing.add_time, use_time=0)
    return [
        dataclasses.replace(o, replay=replay[o.sa.id.destination, o.sa.id.spi], current=origin)
        if isinstance(o, AddSa)
        else o
        for o in operations
    ]


def is_plain(s: SaSetParameters) -> bool:
    """Whether all values are apart: where two are the same, policies may be one."""
    return (
        s.encapsulation is None
        and s.ue_address != s.pcscf_address
        and s.port_uc != s.port_us
        and s.port_pc != s.port_ps
        and s.spi_uc != s.spi_us
        and s.spi_pc != s.spi_ps
    )


def _hard_seconds(new: Association, lifetimes: Lifetimes, now: float) -> int:
    return max(1, math.ceil(new.deadline_at - now + lifetimes.backstop))


@functools.lru_cache(maxsize=64)
def _form(
    role: Role,
    pair: AlgorithmPair,
    size: int,
    layout: Layout,
    lifetimes: Lifetimes,
    *,
    goes_on: bool,
) -> BundleForm:
    """Learn where the values lie: some milliseconds, once for each pair of algorithms."""

    def expand(values: Sequence[WireValue]) -> Sequence[Operation]:
        return operations_of_values(values, role, pair, layout, lifetimes)

    codes = [f"{size}s"] * 2 + [SPI] * 4 + [PORT] * 4 + [WORD] * 4
    if goes_on:
        codes += [*[WORD] * 4, _LONG]
    codes += [f"{size}s" for size in key_sizes(pair)]
    return learn_form(codes, expand)


def key_sizes(pair: AlgorithmPair) -> tuple[int, int]:
    """Return how many bytes the two keys of a pair have; 0 for none."""
    integrity, encryption = pair.transforms
    return 0 if integrity is None else integrity.key_bits // 8, encryption.key_bits // 8


def operations_of_values(
    values: Sequence[WireValue],
    role: Role,
    pair: AlgorithmPair,
    layout: Layout,
    lifetimes: Lifetimes,
) -> Sequence[Operation]:
    """Return the operations of a set with these values; the way back of :func:`first_install`."""
    texts = [ipaddress.ip_address(value).compressed for value in values[:2]]
    numbers = [int.from_bytes(v, "big") for v in values[2:10] if isinstance(v, bytes)]
    hard, reqid_in, *rest = (int(v) for v in values[10:] if isinstance(v, int))
    reqid_out, numbers_told = tuple(rest[:2]), rest[2:]
    integrity, encryption = (Secret(v) for v in values[10:] if isinstance(v, bytes))
    spi_uc, spi_us, spi_pc, spi_ps, port_uc, port_us, port_pc, port_ps = numbers
    sa_set = SaSetParameters(
        role=role,
        ue_address=texts[0],
        pcscf_address=texts[1],
        spi_uc=spi_uc,
        spi_us=spi_us,
        spi_pc=spi_pc,
        spi_ps=spi_ps,
        port_uc=port_uc,
        port_us=port_us,
        port_pc=port_pc,
        port_ps=port_ps,
        integrity_algorithm=pair.integrity,
        encryption_algorithm=pair.encryption,
    )
    association = Association(
        id="",
        endpoint="",
        private_identity="",
        public_identities=(),
        mechanism="ipsec-3gpp",
        state=AssociationState.TEMPORARY,
        phase=Phase.INSTALLING,
        reqid_in=reqid_in,
        reqid_out=reqid_out,
        created_at=0.0,
        confirmed_at=0.0,
        # A quarter below, for what is rounded up is a sum of floats.
        deadline_at=hard - lifetimes.backstop - 0.25,
        policies_until=0.0,
        ipsec_3gpp=sa_set,
    )
    keys = SaKeys(integrity=integrity, encryption=encryption)
    standing = None
    if numbers_told:
        *told, add_time = numbers_told
        standing = Standing(sent=tuple(told[:2]), received=tuple(told[2:]), add_time=add_time)
    return operations_of(association, keys, layout, lifetimes, 0.0, standing)
