"""What an SA does with a packet: algorithms by their names in ``/proc/crypto``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """An integrity algorithm by its kernel name, e.g. ``hmac(sha1)`` 160 bits cut to 96."""

    name: str
    key_bits: int
    icv_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """An encryption algorithm by its kernel name, e.g. ``cbc(aes)``; null has no key."""

    name: str
    key_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """A combined mode algorithm (RFC 4303 3.2.3) by its kernel name, e.g. ``rfc4106(gcm(aes))``.

    It gives integrity too. ``key_bits`` counts the salt behind the key.
    """

    name: str
    key_bits: int
    icv_bits: int
