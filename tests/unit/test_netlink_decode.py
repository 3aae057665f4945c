"""What the kernel says is understood, what nobody may say is refused, and keys are never kept."""

import contextlib
import dataclasses
import pickle
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink import decode, decode_events, uapi
from netlink.decode import MalformedMessage, Message
from netlink.model import (
    KernelEvent,
    NatMapping,
    ObservedPolicy,
    ObservedSa,
    PolicyAdded,
    PolicyDeleted,
    PolicyExpired,
    SaAdded,
    SaDeleted,
    SadFlushed,
    SaExpired,
    SpdFlushed,
    packed_address,
)
from netlink.schema import Head, encode_message
from tests.support import kernel_messages as kernel
from tests.support.kernel_messages import KEY
from tests.support.xfrm_values import OBSERVED_POLICIES, OBSERVED_SAS

PORT = 4711
NUMBERS = st.integers(0, 0xFFFF_FFFF)


def only_message(datagram: bytes) -> Message:
    (message,) = decode.messages(datagram, len(datagram))
    return message


def event_of(datagram: bytes) -> KernelEvent | None:
    return decode_events.event(datagram, only_message(datagram))


# --- dumps ---------------------------------------------------------------------------------------


@given(st.lists(OBSERVED_SAS, max_size=4))
def test_decode_reads_a_dump_of_associations(sas: list[ObservedSa]) -> None:
    """Every value of an SA comes back, in any number of messages, in order."""
    datagram = b"".join(map(kernel.sa_message, sas))

    found = [decode.sa(datagram, m.start, m.end) for m in decode.messages(datagram, len(datagram))]
    assert found == sas


@given(st.lists(OBSERVED_POLICIES, max_size=4))
def test_decode_reads_a_dump_of_policies(policies: list[ObservedPolicy]) -> None:
    """Every value of a policy comes back, its first template included."""
    datagram = b"".join(map(kernel.policy_message, policies))

    found = [
        decode.policy(datagram, m.start, m.end) for m in decode.messages(datagram, len(datagram))
    ]
    assert found == policies


@given(OBSERVED_SAS)
def test_decode_keeps_no_key(sa: ObservedSa) -> None:
    """Neither an observation nor an event holds a byte of the keys that stood beside it."""
    dump, deletion = kernel.sa_message(sa), kernel.sa_deletion(sa, PORT)
    assert KEY in dump
    assert KEY in deletion

    kept = pickle.dumps(decode.sa(dump, 16, len(dump)))
    kept += pickle.dumps([event_of(dump), event_of(deletion)])
    assert KEY[1:-1] not in kept


@given(OBSERVED_SAS, st.binary(min_size=1, max_size=400))
def test_decode_never_reads_a_key(sa: ObservedSa, noise: bytes) -> None:
    """Whatever stands in the attributes with keys changes nothing of what is observed."""
    dump = kernel.sa_message(sa)
    noisy = dump.replace(KEY, (noise * len(KEY))[: len(KEY)])

    assert decode.sa(noisy, 16, len(noisy)) == decode.sa(dump, 16, len(dump)) == sa


@given(OBSERVED_SAS, st.integers(2, 255))
def test_decode_leaves_out_associations_of_other_modes(sa: ObservedSa, mode: int) -> None:
    """An SA in a mode without a word in the model (BEET, IP-TFS) is nobody's that we know."""
    fields = {**kernel.sa_fields(sa), "mode": mode}
    datagram = encode_message(Head(uapi.XFRM_MSG_NEWSA), fields)

    assert decode.sa(datagram, 16, len(datagram)) is None


@given(OBSERVED_POLICIES, st.integers(3, 255))
def test_decode_leaves_out_the_policies_of_sockets(policy: ObservedPolicy, number: int) -> None:
    """A dump of the SPD holds the sockets' own policies under direction numbers from 3 on."""
    fields = {**kernel.policy_fields(policy), "dir": number}
    datagram = encode_message(Head(uapi.XFRM_MSG_NEWPOLICY), fields)

    assert decode.policy(datagram, 16, len(datagram)) is None
    assert event_of(datagram) is None


@given(OBSERVED_POLICIES, st.integers(0, 0xFFFF).filter(lambda f: f not in (2, 10)))
def test_decode_leaves_out_other_families(policy: ObservedPolicy, family: int) -> None:
    """What is neither IPv4 nor IPv6 has no address that could be written down."""
    fields = {**kernel.policy_fields(policy), "sel_family": family}
    datagram = encode_message(Head(uapi.XFRM_MSG_NEWPOLICY), fields)

    assert decode.policy(datagram, 16, len(datagram)) is None


@given(OBSERVED_SAS)
def test_decode_takes_a_selector_without_family_as_that_of_its_association(
    sa: ObservedSa,
) -> None:
    """An SA for inner packets of both families (XFRM_STATE_AF_UNSPEC) has such a selector."""
    fields = {**kernel.sa_fields(sa), "sel_family": 0}
    datagram = encode_message(Head(uapi.XFRM_MSG_NEWSA), fields, kernel.sa_attributes(sa))

    assert decode.sa(datagram, 16, len(datagram)) == sa


# --- counts --------------------------------------------------------------------------------------


@given(NUMBERS)
def test_decode_counts_associations(count: int) -> None:
    """NEWSADINFO has the number of SAs among its attributes."""
    attributes = (("XFRMA_SAD_HINFO", {"sadhcnt": 8, "sadhmcnt": 9}), ("XFRMA_SAD_CNT", count))
    datagram = encode_message(Head(uapi.XFRM_MSG_NEWSADINFO), {"flags": 1}, attributes)

    assert decode.sa_count(datagram, 16, len(datagram)) == count


@given(*[st.integers(0, 10**6)] * 6)
def test_decode_counts_policies_without_those_of_sockets(
    incnt: int, outcnt: int, fwdcnt: int, inscnt: int, outscnt: int, fwdscnt: int
) -> None:
    """NEWSPDINFO counts by direction; the sockets' counts stand apart."""
    counts = {
        "incnt": incnt,
        "outcnt": outcnt,
        "fwdcnt": fwdcnt,
        "inscnt": inscnt,
        "outscnt": outscnt,
        "fwdscnt": fwdscnt,
    }
    attributes = (("XFRMA_SPD_INFO", counts), ("XFRMA_SPD_HINFO", {"spdhcnt": 1}))
    datagram = encode_message(Head(uapi.XFRM_MSG_NEWSPDINFO), {"flags": 1}, attributes)

    assert decode.policy_count(datagram, 16, len(datagram)) == incnt + outcnt + fwdcnt


@pytest.mark.parametrize(
    ("decoder", "kind"),
    [
        (decode.sa_count, uapi.XFRM_MSG_NEWSADINFO),
        (decode.policy_count, uapi.XFRM_MSG_NEWSPDINFO),
    ],
)
def test_decode_refuses_a_count_without_its_number(
    decoder: Callable[[bytes, int, int], int], kind: int
) -> None:
    """A missing count is no zero."""
    datagram = encode_message(Head(kind), {"flags": 1})

    with pytest.raises(MalformedMessage):
        decoder(datagram, 16, len(datagram))


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("echo", [None, b"\x1c\x00\x00\x00" + bytes(24)], ids=["capped", "echo"])
@pytest.mark.parametrize("words", ["", "Requested AUTH_TRUNC algorithm not found"])
def test_decode_reads_errors_with_the_kernels_words(words: str, echo: bytes | None) -> None:
    """Errno is positive; the words come from the extended acknowledgement, capped or not."""
    datagram = kernel.error(9, 38, words, echo=echo)

    message = only_message(datagram)
    assert (message.type, message.sequence) == (uapi.NLMSG_ERROR, 9)
    assert decode.answer(datagram, message) == (38, words)


def test_decode_reads_an_acknowledgement() -> None:
    """Error 0 is none."""
    datagram = kernel.error(9)

    assert decode.answer(datagram, only_message(datagram)) == (0, "")


def test_decode_of_an_error_leaves_the_echo_unread() -> None:
    """Where the kernel repeats the request, keys and all, the words do not."""
    echo = struct.pack("=IHHII", 16 + len(KEY), 16, 5, 9, 0) + KEY
    echo += bytes(-len(echo) % 4)
    datagram = kernel.error(9, 22, "Unsupported mode", echo=echo)

    assert decode.answer(datagram, only_message(datagram)) == (22, "Unsupported mode")


def test_decode_refuses_an_error_of_the_wrong_sign() -> None:
    """The kernel's errors are negative; anything else is not the kernel's."""
    datagram = struct.pack("=IHHII", 36, uapi.NLMSG_ERROR, 0, 1, 0) + struct.pack("=i16x", 5)

    with pytest.raises(MalformedMessage):
        decode.answer(datagram, only_message(datagram))


# --- notices -------------------------------------------------------------------------------------


@given(OBSERVED_SAS, NUMBERS)
def test_decode_reads_notices_of_associations(sa: ObservedSa, port_id: int) -> None:
    """Each notice names identity and owner, and the port of whoever caused it."""
    owner = sa.selector.owner
    for kind in (uapi.XFRM_MSG_NEWSA, uapi.XFRM_MSG_UPDSA):
        notice = kernel.sa_message(sa, Head(kind, port_id=port_id))
        assert event_of(notice) == SaAdded(sa.id, owner, port_id)
    assert event_of(kernel.sa_deletion(sa, port_id)) == SaDeleted(
        sa.id, owner, port_id, kernel.REPLAY
    )
    for hard in (False, True):
        assert event_of(kernel.sa_expiry(sa, hard=hard)) == SaExpired(sa.id, owner, hard)


@given(OBSERVED_POLICIES, NUMBERS)
def test_decode_reads_notices_of_policies(policy: ObservedPolicy, port_id: int) -> None:
    """Identity comes even from the notice of a deletion that was asked for by index."""
    for kind in (uapi.XFRM_MSG_NEWPOLICY, uapi.XFRM_MSG_UPDPOLICY):
        notice = kernel.policy_message(policy, Head(kind, port_id=port_id))
        assert event_of(notice) == PolicyAdded(policy.id, port_id)
    assert event_of(kernel.policy_deletion(policy, port_id)) == PolicyDeleted(policy.id, port_id)
    for hard in (False, True):
        assert event_of(kernel.policy_expiry(policy, hard=hard)) == PolicyExpired(policy.id, hard)


@given(st.integers(0, 255), NUMBERS)
def test_decode_reads_flushes(protocol: int, port_id: int) -> None:
    """Somebody who wipes everything is told with protocol and port."""
    flush = encode_message(Head(uapi.XFRM_MSG_FLUSHSA, port_id=port_id), {"proto": protocol})
    assert event_of(flush) == SadFlushed(protocol, port_id)
    flush = encode_message(Head(uapi.XFRM_MSG_FLUSHPOLICY, port_id=port_id), {})
    assert event_of(flush) == SpdFlushed(port_id)


@given(OBSERVED_SAS, st.integers(0, 0xFFFF))
def test_decode_reads_mappings(sa: ObservedSa, port: int) -> None:
    """T33-M-b: which SA, and from which address and port its packet came."""
    family = 2 if len(packed_address(sa.source)) == 4 else 10
    fields: dict[str, int | bytes] = {
        "id_daddr": packed_address(sa.id.destination),
        "id_spi": sa.id.spi,
        "id_family": family,
        "id_proto": sa.id.protocol,
        "reqid": sa.reqid,
        "old_saddr": b"\xff" * 16,
        "new_saddr": packed_address(sa.source),
        "old_sport": 0xFFFF,
        "new_sport": port,
    }
    notice = encode_message(Head(uapi.XFRM_MSG_MAPPING), fields)

    assert event_of(notice) == NatMapping(id=sa.id, address=sa.source, port=port)
    assert event_of(encode_message(Head(uapi.XFRM_MSG_MAPPING), fields | {"id_family": 1})) is None


@pytest.mark.parametrize("kind", [uapi.XFRM_MSG_ACQUIRE, uapi.XFRM_MSG_NEWAE, 99])
def test_decode_passes_over_other_notices(kind: int) -> None:
    """What says nothing about expiry or change is no event."""
    assert decode_events.event(bytes(400), Message(kind, 0, 0, 0, 16, 400)) is None


@given(OBSERVED_SAS)
def test_decode_refuses_a_deletion_without_its_object(sa: ObservedSa) -> None:
    """A notice whose owner cannot be read is not passed over in silence."""
    datagram = encode_message(Head(uapi.XFRM_MSG_DELSA), {"spi": sa.id.spi, "family": 2})
    with pytest.raises(MalformedMessage):
        event_of(datagram)

    datagram = encode_message(Head(uapi.XFRM_MSG_DELPOLICY), {"index": 8})
    with pytest.raises(MalformedMessage):
        event_of(datagram)


# --- hostile input -------------------------------------------------------------------------------


def read_everything(datagram: bytes) -> None:
    """Let every decoder at every message; only MalformedMessage may come of it."""
    try:
        messages = list(decode.messages(datagram, len(datagram)))
    except MalformedMessage:
        return
    for message in messages:
        for decoder in (decode.sa, decode.policy, decode.sa_count, decode.policy_count):
            with contextlib.suppress(MalformedMessage):
                decoder(datagram, message.start, message.end)
        for kind in range(16, 39):
            with contextlib.suppress(MalformedMessage):
                decode_events.event(datagram, message._replace(type=kind))
        with contextlib.suppress(MalformedMessage):
            decode.answer(datagram, message)


@given(st.binary(max_size=600))
def test_decode_survives_any_bytes(datagram: bytes) -> None:
    """Noise gives MalformedMessage or nothing, never another exception."""
    read_everything(datagram)


@given(st.integers(0, 0xFFFF), st.binary(max_size=600))
def test_decode_survives_any_body(flags: int, body: bytes) -> None:
    """A well-formed header before noise."""
    read_everything(struct.pack("=IHHII", 16 + len(body), 16, flags, 1, 0) + body)


@given(OBSERVED_SAS, OBSERVED_POLICIES, st.data())
def test_decode_survives_damaged_messages(
    sa: ObservedSa, policy: ObservedPolicy, data: st.DataObject
) -> None:
    """A real message cut anywhere, or with any bytes overwritten."""
    made = [
        kernel.sa_message(sa),
        kernel.sa_deletion(sa, PORT),
        kernel.sa_expiry(sa, hard=True),
        kernel.policy_message(policy),
        kernel.policy_deletion(policy, PORT),
        kernel.policy_expiry(policy, hard=True),
        kernel.error(1, 22, "Unsupported mode"),
    ]
    datagram = bytearray(data.draw(st.sampled_from(made)))
    end = data.draw(st.integers(0, len(datagram)))
    position = data.draw(st.integers(0, len(datagram)))
    damage = data.draw(st.binary(max_size=8))
    datagram[position : position + len(damage)] = damage
    read_everything(bytes(datagram[:end]))
    # The same with a header that agrees with what is left.
    if end >= 16:
        struct.pack_into("=I", datagram, 0, end)
        read_everything(bytes(datagram[:end]))


@given(OBSERVED_SAS, st.data())
def test_decode_refuses_a_cut_association(sa: ObservedSa, data: st.DataObject) -> None:
    """A body shorter than its struct is never read beyond its end, whatever follows it."""
    whole = kernel.sa_message(sa)
    end = data.draw(st.integers(16, 16 + 223))

    with pytest.raises(MalformedMessage):
        decode.sa(whole, 16, end)


@pytest.mark.parametrize("length", [0, 1, 15, 17])
def test_decode_refuses_a_message_length_that_cannot_be(length: int) -> None:
    """Lengths below a header, or beyond the datagram, end the walk and cannot loop for ever."""
    datagram = struct.pack("=IHHII", length, 16, 0, 1, 0)

    with pytest.raises(MalformedMessage):
        list(decode.messages(datagram, len(datagram)))


@given(OBSERVED_SAS.map(lambda sa: dataclasses.replace(sa, replay_window=1024)))
def test_decode_refuses_a_replay_window_cut_short(sa: ObservedSa) -> None:
    """The one attribute that is read must be as long as its struct."""
    attributes = (("XFRMA_REPLAY_ESN_VAL", {"bmp_len": 0}),)
    whole = encode_message(Head(uapi.XFRM_MSG_NEWSA), kernel.sa_fields(sa), attributes)
    cut = bytearray(whole[:-4])
    struct.pack_into("=H", cut, 16 + 224, 4 + 20)

    with pytest.raises(MalformedMessage):
        decode.sa(bytes(cut), 16, len(cut))
