"""RFC 3329 algorithm names, their kernel names, and the ESP keys of TS 33.203 Annex I."""

from dataclasses import dataclass
from typing import Final

from netlink.model import Encryption, Integrity, SaKeys
from netlink.secret import Secret

#: IK and CK are 128-bit AKA keys (TS 33.203 Annex I).
AKA_KEY_BYTES: Final = 16

# Names on the left are those of RFC 3329 Appendix A and TS 33.203 Annex H.
INTEGRITY: Final = {
    "hmac-sha-1-96": Integrity(name="hmac(sha1)", key_bits=160, icv_bits=96),
    "hmac-md5-96": Integrity(name="hmac(md5)", key_bits=128, icv_bits=96),
}
ENCRYPTION: Final = {
    "null": Encryption(name="ecb(cipher_null)", key_bits=0),
    "aes-cbc": Encryption(name="cbc(aes)", key_bits=128),
    "des-ede3-cbc": Encryption(name="cbc(des3_ede)", key_bits=192),
}

#: Withdrawn by TS 33.203 Annex H; RFC 8221 forbids MD5 (T33-H-b, IPS-6).
WITHDRAWN: Final = frozenset({"hmac-md5-96", "des-ede3-cbc"})


@dataclass(frozen=True, slots=True)
class AlgorithmPair:
    """An (alg, ealg) pair by RFC 3329 name; prints as ``alg/ealg``."""

    integrity: str
    encryption: str

    def __str__(self) -> str:
        return f"{self.integrity}/{self.encryption}"

    @property
    def known(self) -> bool:
        """Whether both names are known to this version."""
        return self.integrity in INTEGRITY and self.encryption in ENCRYPTION

    @property
    def needs_cipher_key(self) -> bool:
        """Whether CK is needed."""
        return self.encryption != "null"


def _with_odd_parity(key: bytes) -> bytes:
    return bytes((byte & 0xFE) | (~(byte >> 1).bit_count() & 1) for byte in key)


def derive_keys(pair: AlgorithmPair, integrity_key: Secret, cipher_key: Secret | None) -> SaKeys:
    """Return the ESP keys of every SA of a set (TS 33.203 Annex I; norms section 13).

    ``integrity_key`` is IK, ``cipher_key`` CK, 16 bytes each; CK may be None with the null cipher.
    """
    ik = integrity_key.reveal()
    ck = cipher_key.reveal() if cipher_key is not None else b""
    if pair.integrity == "hmac-sha-1-96":
        ik_esp = ik + bytes(4)  # Annex I: IK followed by 32 zero bits
    elif pair.integrity == "hmac-md5-96":
        ik_esp = ik
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
