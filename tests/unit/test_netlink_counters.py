"""Counters of SAs are understood from dumps and from notices; keys and others' words are not."""

import pickle
import struct

import pytest
from hypothesis import given

from netlink import counters, decode, uapi
from netlink.counters import ObservedCounters
from netlink.decode import MalformedMessage
from netlink.model import ObservedSa, packed_address
from netlink.schema import Head, encode_message
from tests.support import kernel_messages as kernel
from tests.support.kernel_messages import KEY, REPLAY
from tests.support.xfrm_values import OBSERVED_SAS, observed_sa


def notice_of(datagram: bytes) -> ObservedCounters | None:
    (message,) = decode.messages(datagram, len(datagram))
    return counters.of_notice(datagram, message)


@given(OBSERVED_SAS)
def test_counters_are_read_from_a_dump(sa: ObservedSa) -> None:
    """Identity, sequence numbers of either form, and the counters; not a byte of a key."""
    datagram = kernel.sa_message(sa)
    found = counters.of_sa(datagram, 16, len(datagram))

    assert found == ObservedCounters(id=sa.id, replay=REPLAY, current=sa.current)
    assert KEY in datagram
    assert KEY[1:-1] not in pickle.dumps(found)


@given(OBSERVED_SAS)
def test_counters_are_read_from_a_notice(sa: ObservedSa) -> None:
    """NEWAE of the group AEVENTS says the same as a dump."""
    assert notice_of(kernel.counter_notice(sa)) == ObservedCounters(
        id=sa.id, replay=REPLAY, current=sa.current
    )


def test_counters_are_in_no_other_notice() -> None:
    """Whatever else is told in this group is not ours to read."""
    assert notice_of(kernel.sa_message(observed_sa())) is None


def test_counters_of_other_families_are_left_out() -> None:
    """What is neither IPv4 nor IPv6 has no address that could be written down."""
    fields = {**kernel.sa_fields(observed_sa()), "family": 99}
    datagram = encode_message(
        Head(uapi.XFRM_MSG_NEWSA), fields, kernel.sa_attributes(observed_sa())
    )

    assert counters.of_sa(datagram, 16, len(datagram)) is None


def test_counters_that_are_missing_are_no_zeros() -> None:
    """An SA without sequence numbers, a notice without counters: malformed."""
    bare = encode_message(Head(uapi.XFRM_MSG_NEWSA), kernel.sa_fields(observed_sa()))
    with pytest.raises(MalformedMessage, match="sequence numbers"):
        counters.of_sa(bare, 16, len(bare))
    sa = observed_sa()
    fields: dict[str, int | bytes] = {
        "sa_id_daddr": packed_address(sa.id.destination),
        "sa_id_spi": sa.id.spi,
        "sa_id_family": 2,
        "sa_id_proto": sa.id.protocol,
    }
    with pytest.raises(MalformedMessage, match="counters"):
        notice_of(encode_message(Head(uapi.XFRM_MSG_NEWAE), fields))
    with pytest.raises(MalformedMessage):
        notice_of(struct.pack("=IHHII", 20, uapi.XFRM_MSG_NEWAE, 0, 0, 0) + bytes(4))
