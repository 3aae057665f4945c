"""Private and public keys: which kinds and strengths are taken. Pure.

RFC 9325 4.5: RSA of 2048 bits or more, curves of 224 bits or more; of the curves those that
RFC 8422 5.1.1 leaves.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PublicKeyTypes,
)

from netlink.secret import Secret
from sad.credentials.pem import require_one_key
from sad.credentials.reasons import Refused
from sad.model.credential import Part

LEAST_RSA_BITS: Final = 2048
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

AnyPublicKey = CertificatePublicKeyTypes | PublicKeyTypes


def public_key_of(text: Secret) -> PublicKeyTypes:
    """Return the public half of the one private key in a PEM file.

    The private half lives in the library's memory until this returns: its owner cannot wipe it.
    """
    revealed = text.reveal()
    require_one_key(revealed)
    try:
        key = serialization.load_pem_private_key(revealed, password=None)
    except TypeError:
        raise Refused("encrypted-key", Part.KEY, "the key is encrypted") from None
    except UnsupportedAlgorithm:
        raise Refused("unsupported-key", Part.KEY, "a key of a kind nobody knows") from None
    except ValueError:  # of whose text nothing is repeated
        raise Refused("garbage-pem", Part.KEY, "between the marks stands no key") from None
    return key.public_key()


def name_of(key: AnyPublicKey) -> str:
    """Return a kind and strength as people write it."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
    return kind_of(key)


def kind_of(key: AnyPublicKey) -> str:
    """Return ``RSA``, ``EC``, or what else it is."""
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "EC"
    return type(key).__name__.removesuffix("PublicKey")


def weakness_of(key: AnyPublicKey) -> tuple[str, str] | None:
    """Return the reason not to take a key, and what was seen; None if it may be taken."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < LEAST_RSA_BITS:
            return "weak-key", f"{name_of(key)}: less than {LEAST_RSA_BITS} bits"
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            return "weak-curve", f"{name_of(key)} is none of {', '.join(_CURVES.values())}"
        return None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    return "unsupported-key", f"keys of the kind {kind_of(key)} are not for TLS"


def encoded(key: AnyPublicKey) -> bytes:
    """Return a public key as DER: what two keys are compared by."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
