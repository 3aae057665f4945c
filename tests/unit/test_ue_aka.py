"""Milenage and AKAv1-MD5 of the test UE against the vectors of TS 35.208 and norms 17."""

import pytest

from tests.ue.aka import (
    Challenge,
    Usim,
    challenge_of,
    check_credentials,
    credentials,
    decode_nonce,
    digest_response,
    encode_nonce,
)
from tests.ue.headers import SipError, parse_digest, render_digest
from tests.ue.milenage import (
    DELTA,
    MacFailure,
    Milenage,
    SynchronisationFailure,
    derive_opc,
)

K = bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc")
OP = bytes.fromhex("cdc202d5123e20f62b6d676ac72cb318")
OPC = bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf")
RAND = bytes.fromhex("23553cbe9637a89d218ae64dae47bf35")
SQN = bytes.fromhex("ff9bb4d0b607")
AMF = bytes.fromhex("b9b9")
RES = bytes.fromhex("a54211d5e3ba50bf")
REALM = "ims.mnc001.mcc001.3gppnetwork.org"
NONCE = "I1U8vpY3qJ0hiuZNrke/NVXzKLQ1d7m5Sp/6w1Tfr7M="
IDENTITY = f"001010000000001@{REALM}"
CARD = Milenage(K, OPC)


def test_opc_of_test_set_1() -> None:
    """TS 35.208 4.3: OPc from OP and K."""
    assert derive_opc(K, OP) == OPC


@pytest.mark.parametrize(
    ("name", "computed", "expected"),
    [
        ("f1", CARD.f1(RAND, SQN, AMF), "4a9ffac354dfafb3"),
        ("f1*", CARD.f1_star(RAND, SQN, AMF), "01cfaf9ec4e871e9"),
        ("f2", CARD.f2(RAND), "a54211d5e3ba50bf"),
        ("f3", CARD.f3(RAND), "b40ba9a3c58b2a05bbf0d987b21bf8cb"),
        ("f4", CARD.f4(RAND), "f769bcd751044604127672711c6d3441"),
        ("f5", CARD.f5(RAND), "aa689c648370"),
        ("f5*", CARD.f5_star(RAND), "451e8beca43b"),
    ],
)
def test_functions_of_test_set_1(name: str, computed: bytes, expected: str) -> None:
    """TS 35.208 4.3: f1 to f5*."""
    assert computed.hex() == expected, name


def test_vector_of_the_home_network() -> None:
    """TS 33.102 6.3.2: AUTN = (SQN xor AK) || AMF || MAC."""
    vector = CARD.vector(RAND, int.from_bytes(SQN, "big"), AMF)
    assert vector.autn.hex() == "55f328b43577b9b94a9ffac354dfafb3"
    assert vector.xres == RES
    assert RES.hex() not in repr(vector)


def test_usim_accepts_each_sequence_number_once() -> None:
    """T33-7.3.1.3: the same challenge a second time is out of range, and AUTS tells the SQN."""
    usim = Usim(K, OPC, sqn=100)
    vector = CARD.vector(RAND, 101, AMF)
    nonce = encode_nonce(vector.rand, vector.autn)
    answer = usim.answer(nonce)
    assert (answer.res, answer.ck, answer.ik) == (vector.xres, vector.ck, vector.ik)
    with pytest.raises(SynchronisationFailure) as caught:
        usim.answer(nonce)
    assert CARD.resynchronise(RAND, caught.value.auts) == 101


def test_sequence_number_far_ahead_is_refused() -> None:
    """TS 33.102 C.2.1: a jump beyond DELTA is a synchronisation failure too."""
    vector = CARD.vector(RAND, 101 + DELTA, AMF)
    with pytest.raises(SynchronisationFailure):
        Usim(K, OPC, sqn=100).answer(encode_nonce(vector.rand, vector.autn))


@pytest.mark.parametrize("octet", range(16))
def test_every_octet_of_autn_is_protected(octet: int) -> None:
    """T33-7.3.1.2: AUTN changed anywhere is a MAC failure, never a wrong key."""
    vector = CARD.vector(RAND, 101, AMF)
    autn = bytearray(vector.autn)
    autn[octet] ^= 1
    with pytest.raises(MacFailure):
        CARD.check(RAND, bytes(autn), 100)


def test_forged_auts_is_refused() -> None:
    """TS 33.102 6.3.5: the network checks MAC-S before it believes an SQN."""
    auts = bytearray(CARD.auts(RAND, 7))
    auts[0] ^= 1
    with pytest.raises(MacFailure):
        CARD.resynchronise(RAND, bytes(auts))


def test_nonce_holds_rand_and_autn() -> None:
    """RFC 3310 3.2, vector of norms 17."""
    autn = bytes.fromhex("55f328b43577b9b94a9ffac354dfafb3")
    assert encode_nonce(RAND, autn) == NONCE
    assert decode_nonce(NONCE) == (RAND, autn)
    with pytest.raises(SipError):
        decode_nonce("AAAA")


@pytest.mark.parametrize(
    ("qop", "expected"),
    [
        ("auth", "402ab8df9f3a4d63a9f47c2f90e02938"),
        (None, "1125a3c2e293453f07e08957ff235efc"),
    ],
)
def test_response_of_akav1_md5(qop: str | None, expected: str) -> None:
    """UPD-3310: the password is RES as raw octets (vectors of norms 17)."""
    response = digest_response(
        username=IDENTITY,
        realm=REALM,
        password=RES,
        method="REGISTER",
        uri=f"sip:{REALM}",
        nonce=NONCE,
        qop=qop,
        nc="00000001",
        cnonce="0a4f113b",
    )
    assert response == expected


@pytest.mark.parametrize(
    "change",
    [
        {"response": "0" * 32},
        {"nonce": "x"},
        {"uri": "sip:other"},
        {"username": "other"},
        {"nc": "00000002"},
        {"realm": "other"},
        {"algorithm": "MD5"},
        {"qop": "auth-int"},
    ],
)
def test_network_refuses_changed_credentials(change: dict[str, str]) -> None:
    """T33-7.3.1.1: only the exact response to the exact challenge proves RES."""
    challenge = challenge_of(CARD.vector(RAND, 101, AMF), REALM)
    given = credentials(
        challenge,
        username=IDENTITY,
        method="REGISTER",
        uri=f"sip:{REALM}",
        res=RES,
        nonce_count=1,
        cnonce="0a4f113b",
    )
    assert check_credentials(given, realm=REALM, res=RES, method="REGISTER")
    assert not check_credentials(given | change, realm=REALM, res=RES, method="REGISTER")


def test_challenge_survives_the_wire_and_hides_its_keys() -> None:
    """The registrar's 401 carries ck and ik in hex; they show in no repr."""
    challenge = challenge_of(CARD.vector(RAND, 101, AMF), REALM)
    wire = render_digest(challenge.params(), challenge=True)
    assert Challenge.of(parse_digest(wire)) == challenge
    assert challenge.ck is not None
    assert challenge.ck.hex() in wire
    assert challenge.ck.hex() not in repr(challenge)
    assert repr(challenge.ck) not in repr(challenge)
