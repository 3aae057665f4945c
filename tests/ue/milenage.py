"""Milenage (TS 35.206): the functions f1..f5* of a USIM and of the home network.

Pure. The counterpart of both sides of an AKA: :mod:`tests.ue.aka` uses it as the USIM,
:mod:`tests.ue.registrar` as the home network. Vectors: TS 35.208 set 1 (norms 17).
"""

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SQN_LIMIT = 1 << 48
# TS 33.102 C.2.1: a jump ahead larger than this is refused too, or one forged number would
# make the USIM deaf.
DELTA = 1 << 28
# TS 33.102 6.3.3: the AMF under which a USIM computes MAC-S.
RESYNCHRONISATION_AMF = bytes(2)

_ROTATIONS = (64, 0, 32, 64, 96)  # r1..r5 in bits, TS 35.206 4.1
_CONSTANTS = tuple(value.to_bytes(16, "big") for value in (0, 1, 2, 4, 8))  # c1..c5


class MacFailure(Exception):
    """AUTN was not made with this key: the network is not the home network."""


@dataclass(frozen=True)
class SynchronisationFailure(Exception):
    """AUTN is genuine but its SQN was used before; ``auts`` tells the network the right one."""

    auts: bytes


@dataclass(frozen=True, slots=True)
class Vector:
    """An authentication vector of the home network (TS 33.102 6.3.2)."""

    rand: bytes
    autn: bytes
    xres: bytes = field(repr=False)
    ck: bytes = field(repr=False)
    ik: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a USIM computes from a good challenge; ``sqn`` is the network's sequence number."""

    sqn: int
    res: bytes = field(repr=False)
    ck: bytes = field(repr=False)
    ik: bytes = field(repr=False)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _rotate(block: bytes, bits: int) -> bytes:
    octets = bits // 8
    return block[octets:] + block[:octets]


def _encrypt(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def derive_opc(k: bytes, op: bytes) -> bytes:
    """Return OPc = E_K(OP) xor OP."""
    return _xor(_encrypt(k, op), op)


class Milenage:
    """The functions of one subscriber: ``k`` and ``opc`` are 16 octets each."""

    __slots__ = ("_k", "_opc")

    def __init__(self, k: bytes, opc: bytes) -> None:
        if len(k) != 16 or len(opc) != 16:
            raise ValueError("K and OPc are 16 octets each")
        self._k = k
        self._opc = opc

    def _temp(self, rand: bytes) -> bytes:
        return _encrypt(self._k, _xor(rand, self._opc))

    def _out(self, number: int, rand: bytes) -> bytes:
        """OUT2..OUT5 of TS 35.206 4.1."""
        block = _rotate(_xor(self._temp(rand), self._opc), _ROTATIONS[number - 1])
        return _xor(_encrypt(self._k, _xor(block, _CONSTANTS[number - 1])), self._opc)

    def _out1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        block = _rotate(_xor((sqn + amf) * 2, self._opc), _ROTATIONS[0])
        mixed = _xor(_xor(self._temp(rand), block), _CONSTANTS[0])
        return _xor(_encrypt(self._k, mixed), self._opc)

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, 8 octets."""
        return self._out1(rand, sqn, amf)[:8]

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-S, 8 octets."""
        return self._out1(rand, sqn, amf)[8:]

    def f2(self, rand: bytes) -> bytes:
        """RES, 8 octets."""
        return self._out(2, rand)[8:]

    def f3(self, rand: bytes) -> bytes:
        """CK, 16 octets."""
        return self._out(3, rand)

    def f4(self, rand: bytes) -> bytes:
        """IK, 16 octets."""
        return self._out(4, rand)

    def f5(self, rand: bytes) -> bytes:
        """AK, 6 octets."""
        return self._out(2, rand)[:6]

    def f5_star(self, rand: bytes) -> bytes:
        """AK of a resynchronisation, 6 octets."""
        return self._out(5, rand)[:6]

    def vector(self, rand: bytes, sqn: int, amf: bytes) -> Vector:
        """Make the home network's vector for ``sqn``."""
        octets = sqn.to_bytes(6, "big")
        autn = _xor(octets, self.f5(rand)) + amf + self.f1(rand, octets, amf)
        return Vector(rand, autn, self.f2(rand), self.f3(rand), self.f4(rand))

    def check(self, rand: bytes, autn: bytes, highest_sqn: int) -> Answer:
        """Check a challenge as the USIM does (TS 33.102 6.3.3).

        Raises :class:`MacFailure`, or :class:`SynchronisationFailure` when the SQN is not above
        ``highest_sqn`` or too far above it.
        """
        sqn = _xor(autn[:6], self.f5(rand))
        if not hmac.compare_digest(autn[8:], self.f1(rand, sqn, autn[6:8])):
            raise MacFailure("the challenge was not made by the home network")
        number = int.from_bytes(sqn, "big")
        if not highest_sqn < number <= highest_sqn + DELTA:
            raise SynchronisationFailure(self.auts(rand, highest_sqn))
        return Answer(number, self.f2(rand), self.f3(rand), self.f4(rand))

    def auts(self, rand: bytes, highest_sqn: int) -> bytes:
        """AUTS = (SQN_MS xor AK*) || MAC-S, 14 octets (TS 33.102 6.3.3)."""
        sqn = highest_sqn.to_bytes(6, "big")
        mac_s = self.f1_star(rand, sqn, RESYNCHRONISATION_AMF)
        return _xor(sqn, self.f5_star(rand)) + mac_s

    def resynchronise(self, rand: bytes, auts: bytes) -> int:
        """Return SQN_MS of a genuine AUTS, as the home network does; else MacFailure."""
        if len(auts) != 14:
            raise MacFailure("AUTS is 14 octets")
        sqn = _xor(auts[:6], self.f5_star(rand))
        if not hmac.compare_digest(auts[6:], self.f1_star(rand, sqn, RESYNCHRONISATION_AMF)):
            raise MacFailure("AUTS was not made by this subscriber's USIM")
        return int.from_bytes(sqn, "big")
