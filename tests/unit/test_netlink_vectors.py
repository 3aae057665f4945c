"""Messages by hand: offsets of the C structs (x86-64), written down without the schema.

The schema and the templates have one source; this file is the second one.
"""

import struct

import pytest

from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    Direction,
    MoveLifetime,
    PolicyAction,
    SaId,
    SaKeys,
    ShortenSa,
    UpdatePolicy,
)
from netlink.reference import (
    GetInfo,
    GetPolicy,
    GetSa,
    Request,
    dump_request,
    encode_reference,
)
from netlink.secret import Secret
from netlink.templates import LARGEST_MESSAGE, encode_into
from tests.support.xfrm_values import AES, GCM, NULL, OWNER, SHA1, policy, security_association

IK = bytes.fromhex("f769bcd751044604127672711c6d3441") + bytes(4)
CK = bytes.fromhex("b40ba9a3c58b2a05bbf0d987b21bf8cb")
GCM_KEY = CK + bytes.fromhex("89273db6")  # T33-I-a, norms section 17

SOURCE = bytes((192, 0, 2, 1))
DESTINATION = bytes((198, 51, 100, 2))
SOURCE_6 = bytes.fromhex("20010db8000000000000000000000001")
DESTINATION_6 = bytes.fromhex("20010db8ffff00000000000000000002")

INFINITE = b"\xff" * 8


def image(size: int, *pieces: tuple[int, bytes]) -> bytes:
    """Zeros with bytes at offsets."""
    buffer = bytearray(size)
    for offset, piece in pieces:
        assert not any(buffer[offset : offset + len(piece)])
        buffer[offset : offset + len(piece)] = piece
    assert len(buffer) == size
    return bytes(buffer)


def u16(number: int) -> bytes:
    return struct.pack("=H", number)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def u64(number: int) -> bytes:
    return struct.pack("=Q", number)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Sequence 0x01020304, port 0x0A0B0C0D."""
    head = struct.pack("=IHHII", 16 + len(body), kind, flags, 0x01020304, 0x0A0B0C0D)
    return head + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def selector_4(port: int = 0) -> bytes:
    return image(
        56,
        (0, DESTINATION),
        (16, SOURCE),
        (32, port.to_bytes(2, "big")),
        (34, b"\xff\xff" if port else b""),
        (40, u16(2)),
        (42, bytes((32, 32))),
        (52, u32(OWNER)),
    )


def sa_body(*, window: int, hard_add: int, hard_packets: bytes = INFINITE) -> bytes:
    return image(
        224,
        (0, selector_4()),
        (56, DESTINATION),
        (72, bytes.fromhex("00001000")),
        (76, bytes((50,))),
        (80, SOURCE),
        (96, INFINITE * 3 + hard_packets),
        (96 + 40, u64(hard_add)),
        (208, u32(0x2000_1000)),
        (212, u16(2)),
        (215, bytes((window,))),
    )


def auth_trunc(key: bytes) -> bytes:
    name = b"hmac(sha1)".ljust(64, b"\0")
    return attribute(20, name + u32(160) + u32(96) + key)


def crypt(name: bytes, key: bytes) -> bytes:
    return attribute(2, name.ljust(64, b"\0") + u32(8 * len(key)) + key)


def aead(name: bytes, key: bytes) -> bytes:
    return attribute(18, name.ljust(64, b"\0") + u32(8 * len(key)) + u32(128) + key)


def esn(window: int) -> bytes:
    """bmp_len, four counters, the window, the bitmap."""
    words = window // 32
    return attribute(23, u32(words) + bytes(16) + u32(window) + bytes(4 * words))


def policy_body(kind: Direction, action: int, hard_add: int) -> bytes:
    return image(
        168,
        (0, selector_4(5060)),
        (56, INFINITE * 4),
        (56 + 40, u64(hard_add)),
        (152, u32(1000)),
        (160, bytes((kind, action))),
    )


TEMPLATE = attribute(
    5,
    image(
        64,
        (0, DESTINATION),
        (20, bytes((50,))),
        (24, u16(2)),
        (28, SOURCE),
        (44, u32(0x2000_1000)),
        (52, b"\xff" * 12),
    ),
)

SA_64 = security_association(hard_add_seconds=240)
SA_32 = security_association(hard_add_seconds=0x1_0000_0001, replay_window=32, pair=(SHA1, AES))
SA_GCM = security_association(hard_add_seconds=9, hard_packets=1 << 23, pair=(None, GCM))
SA_0 = security_association(hard_add_seconds=7, replay_window=0, pair=(SHA1, AES))
POLICY_ID = policy().id
V6 = SaId("2001:db8:ffff::2", 0xFEDCBA98, 51)

VECTORS: list[tuple[str, Request, bytes]] = [
    (
        "NEWSA: REQUEST|CREATE|EXCL, null cipher, window of 64 as its own attribute",
        AddSa(sa=SA_64, keys=SaKeys(integrity=Secret(IK), encryption=Secret(b""))),
        message(
            16,
            0x601,
            sa_body(window=0, hard_add=240)
            + auth_trunc(IK)
            + crypt(b"ecb(cipher_null)", b"")
            + esn(64),
        ),
    ),
    (
        "NEWSA: a window of 32 packets is the legacy byte",
        AddSa(sa=SA_32, keys=SaKeys(integrity=Secret(IK), encryption=Secret(CK))),
        message(
            16,
            0x601,
            sa_body(window=32, hard_add=0x1_0000_0001) + auth_trunc(IK) + crypt(b"cbc(aes)", CK),
        ),
    ),
    (
        "NEWSA: a combined mode algorithm stands alone, its salt behind the key",
        AddSa(sa=SA_GCM, keys=SaKeys(integrity=Secret(b""), encryption=Secret(GCM_KEY))),
        message(
            16,
            0x601,
            sa_body(window=0, hard_add=9, hard_packets=u64(1 << 23))
            + aead(b"rfc4106(gcm(aes))", GCM_KEY)
            + esn(64),
        ),
    ),
    (
        "UPDSA: its limit of packets, and zeros for key and salt",
        ShortenSa(SA_GCM),
        message(
            26,
            0x1,
            sa_body(window=0, hard_add=9, hard_packets=u64(1 << 23))
            + aead(b"rfc4106(gcm(aes))", bytes(20))
            + esn(64),
        ),
    ),
    (
        "UPDSA: zero keys of the right length, no replay window",
        ShortenSa(SA_0),
        message(
            26,
            0x1,
            sa_body(window=0, hard_add=7) + auth_trunc(bytes(20)) + crypt(b"cbc(aes)", bytes(16)),
        ),
    ),
    (
        "NEWAE: REQUEST|REPLACE with the lifetime",
        MoveLifetime(
            id=SA_64.id,
            source=SA_64.source,
            reqid=SA_64.reqid,
            current=CurrentLifetime(bytes=1, packets=2, add_time=1 << 33, use_time=4),
        ),
        message(
            30,
            0x101,
            image(
                48,
                (0, DESTINATION),
                (16, bytes.fromhex("00001000")),
                (20, u16(2)),
                (22, bytes((50,))),
                (24, SOURCE),
                (44, u32(0x2000_1000)),
            )
            + attribute(9, u64(1) + u64(2) + u64(1 << 33) + u64(4)),
        ),
    ),
    (
        "DELSA",
        DeleteSa(V6),
        message(17, 1, DESTINATION_6 + bytes.fromhex("fedcba98") + u16(10) + bytes((51, 0))),
    ),
    (
        "GETSA",
        GetSa(V6),
        message(18, 1, DESTINATION_6 + bytes.fromhex("fedcba98") + u16(10) + bytes((51, 0))),
    ),
    (
        "NEWPOLICY: every algorithm of the SA that the reqid names",
        AddPolicy(policy(hard_add_seconds=9)),
        message(19, 0x601, policy_body(Direction.OUT, 0, 9) + TEMPLATE),
    ),
    (
        "UPDPOLICY: a block policy has no template",
        UpdatePolicy(policy(action=PolicyAction.BLOCK, direction=Direction.FORWARD)),
        message(25, 1, policy_body(Direction.FORWARD, 1, 0)),
    ),
    (
        "DELPOLICY by selector",
        DeletePolicy(POLICY_ID),
        message(20, 1, image(64, (0, selector_4(5060)), (60, bytes((1,))))),
    ),
    (
        "GETPOLICY by selector",
        GetPolicy(POLICY_ID),
        message(21, 1, image(64, (0, selector_4(5060)), (60, bytes((1,))))),
    ),
    ("GETSADINFO: a word of flags", GetInfo(35), message(35, 1, b"\xff" * 4)),
    (
        "DELPOLICY of the other family",
        DeletePolicy(policy(version=6, direction=Direction.IN).id),
        message(
            20,
            1,
            image(
                64,
                (0, DESTINATION_6),
                (16, SOURCE_6),
                (32, bytes.fromhex("13c4ffff")),
                (40, u16(10)),
                (42, bytes((128, 128))),
                (52, u32(OWNER)),
            ),
        ),
    ),
]


@pytest.mark.parametrize(
    ("request_", "expected"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS]
)
def test_vectors_of_requests(request_: Request, expected: bytes) -> None:
    """Both encodings give the bytes that the C structs have."""
    assert encode_reference(request_, 0x01020304, 0x0A0B0C0D) == expected
    buffer = bytearray(LARGEST_MESSAGE)
    end = encode_into(buffer, 0, request_, 0x01020304, 0x0A0B0C0D)
    assert bytes(buffer[:end]) == expected


def test_vectors_of_table_requests() -> None:
    """A dump is a bare header: the kernel reads attributes behind it and no struct."""
    assert dump_request(18, 7) == struct.pack("=IHHII", 16, 18, 0x301, 7, 0)


def test_vectors_null_cipher_has_an_attribute_without_key() -> None:
    """TS 33.203 Annex I null: the attribute is there, its key has no bytes."""
    assert security_association().encryption == NULL
    assert crypt(b"ecb(cipher_null)", b"") in VECTORS[0][2]
