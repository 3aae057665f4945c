"""RFC 3329 algorithm names, their kernel names, and the ESP keys of TS 33.203 Annex I.

Key lengths are Annex I's: IK and CK have 128 bits, and Annex H has no parameter for another, so
aes-cbc, aes-gcm and aes-gmac are AES-128 and nothing else can be agreed on.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from netlink.model import SaKeys
from netlink.secret import Secret
from netlink.transforms import Combined, Encryption, Integrity
from sip_hooks.secagree import (
    ENCRYPTION_ALGORITHMS,
    EXTENSION_ALGORITHMS,
    INTEGRITY_ALGORITHMS,
    WITHDRAWN_ALGORITHMS,
    is_legal_pair,
)

#: IK and CK are 128-bit AKA keys (TS 33.203 Annex I).
AKA_KEY_BYTES: Final = 16

# Names on the left are those of RFC 3329 Appendix A and TS 33.203 Annex H, and of extensions.
_INTEGRITY: Final = {
    "hmac-sha-1-96": Integrity(name="hmac(sha1)", key_bits=160, icv_bits=96),
    "hmac-md5-96": Integrity(name="hmac(md5)", key_bits=128, icv_bits=96),
    "hmac-sha-256-128": Integrity(name="hmac(sha256)", key_bits=256, icv_bits=128),
}
_ENCRYPTION: Final = {
    "null": Encryption(name="ecb(cipher_null)", key_bits=0),
    "aes-cbc": Encryption(name="cbc(aes)", key_bits=128),
    "des-ede3-cbc": Encryption(name="cbc(des3_ede)", key_bits=192),
}
#: A salt of 32 bits stands behind the key (T33-I-a).
_COMBINED: Final = {
    ("aes-gmac", "null"): Combined(name="rfc4543(gcm(aes))", key_bits=160, icv_bits=128),
    ("null", "aes-gcm"): Combined(name="rfc4106(gcm(aes))", key_bits=160, icv_bits=128),
}

_MODULES: Final = {
    "hmac-sha-1-96": "sha1_generic",
    "hmac-md5-96": "md5",
    "hmac-sha-256-128": "sha256_generic",
    "aes-cbc": "cbc",
    "des-ede3-cbc": "cbc des_generic",
}

#: Withdrawn by TS 33.203 Annex H; RFC 8221 forbids MD5 (T33-H-b, IPS-6).
WITHDRAWN: Final = WITHDRAWN_ALGORITHMS
#: Of no 3GPP release; both sides must know them by their names.
EXTENSIONS: Final = EXTENSION_ALGORITHMS

Transforms: TypeAlias = tuple[Integrity, Encryption] | tuple[None, Combined]


class AlgorithmPair(Struct, frozen=True, gc=False):
    """An (alg, ealg) pair by RFC 3329 name; prints as ``alg/ealg``."""

    integrity: str
    encryption: str

    def __str__(self) -> str:
        return f"{self.integrity}/{self.encryption}"

    @property
    def known(self) -> bool:
        """Whether both names are known, and may stand together (T33-H-c)."""
        return is_legal_pair((self.integrity, self.encryption))

    @property
    def illegal(self) -> bool:
        """Whether both names are known and must not stand together (T33-H-c)."""
        names = self.integrity in INTEGRITY_ALGORITHMS and self.encryption in ENCRYPTION_ALGORITHMS
        return names and not self.known

    @property
    def combined(self) -> bool:
        """Whether one algorithm with a nonce does both: then no nonce may occur twice."""
        return (self.integrity, self.encryption) in _COMBINED

    @property
    def needs_cipher_key(self) -> bool:
        """Whether CK is needed: as the cipher's key, or for the salt of aes-gmac."""
        return self.encryption != "null" or self.combined

    @property
    def modules(self) -> str:
        """Kernel modules that hold it where they are not built in, as modprobe takes them."""
        if self.combined:
            return "gcm ctr ghash-generic seqiv"
        names = [_MODULES[name] for name in (self.integrity, self.encryption) if name in _MODULES]
        return " ".join(("authenc", "echainiv", "hmac", *names))

    @property
    def transforms(self) -> Transforms:
        """The kernel's algorithms; raises KeyError unless the pair is ``known``."""
        combined = _COMBINED.get((self.integrity, self.encryption))
        if combined is not None:
            return None, combined
        return _INTEGRITY[self.integrity], _ENCRYPTION[self.encryption]


def modules_of(name: str) -> str:
    """Return :attr:`AlgorithmPair.modules` of a pair as ``alg/ealg``."""
    integrity, _, encryption = name.partition("/")
    return AlgorithmPair(integrity, encryption).modules


def _with_odd_parity(key: bytes) -> bytes:
    return bytes((byte & 0xFE) | (~(byte >> 1).bit_count() & 1) for byte in key)


#: FC and P0 of the KDF of TS 33.220 Annex B that makes the salts.
_SALTS: Final[Mapping[str, tuple[int, bytes]]] = {
    "aes-gmac": (0x58, b"AES_GMAC_SALT"),
    "aes-gcm": (0x59, b"AES_GCM_SALT"),
}


def _salt(name: str, ck: bytes, ik: bytes) -> bytes:
    """Return the 32 least significant bits of the KDF: HMAC-SHA-256 under CK || IK (T33-I-a)."""
    fc, p0 = _SALTS[name]
    s = bytes((fc,)) + p0 + len(p0).to_bytes(2, "big")
    return hmac.digest(ck + ik, s, hashlib.sha256)[-4:]


def derive_keys(pair: AlgorithmPair, integrity_key: Secret, cipher_key: Secret | None) -> SaKeys:
    """Return the ESP keys of every SA of a set (TS 33.203 Annex I; norms section 13).

    ``integrity_key`` is IK, ``cipher_key`` CK, 16 bytes each; CK may be None if the pair does not
    need it.
    """
    ik = integrity_key.reveal()
    ck = cipher_key.reveal() if cipher_key is not None else b""
    if pair.integrity == "aes-gmac":
        return _alone(ik + _salt("aes-gmac", ck, ik))
    if pair.encryption == "aes-gcm":
        return _alone(ck + _salt("aes-gcm", ck, ik))
    if pair.integrity == "hmac-sha-1-96":
        ik_esp = ik + bytes(4)  # Annex I: IK followed by 32 zero bits
    elif pair.integrity == "hmac-md5-96":
        ik_esp = ik
    elif pair.integrity == "hmac-sha-256-128":
        # As Annex I does for SHA-1. HMAC itself pads with zeros (RFC 2104 2), so this is the
        # HMAC under IK in the key length of RFC 4868 2.1.1.
        ik_esp = ik + bytes(16)
    else:
        raise ValueError("no key rule for this integrity algorithm")
    if pair.encryption == "null":
        ck_esp = b""
    elif pair.encryption == "aes-cbc":
        ck_esp = ck
    elif pair.encryption == "des-ede3-cbc":
        ck_esp = _with_odd_parity(ck + ck[:8])  # Annex I: CK1, CK2, CK1, parity adjusted
    else:
        raise ValueError("no key rule for this encryption algorithm")
    return SaKeys(integrity=Secret(ik_esp), encryption=Secret(ck_esp))


def _alone(key: bytes) -> SaKeys:
    return SaKeys(integrity=Secret(b""), encryption=Secret(key))
