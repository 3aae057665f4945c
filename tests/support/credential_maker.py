"""Certificates and keys as good or as bad as a test wants them, made with cryptography."""

import datetime as dt
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, x25519
from cryptography.x509.oid import NameOID

from sad.model.credential import WantedCredential
from sad.model.tls_ciphers import DEFAULT_CIPHERS

NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
#: For those that OpenSSL looks at, which knows no other time than the real one.
LONG_AGO, NEVER = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
DOMAIN = "sip.example.org"
ALL = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}
_SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
_SHA1_RSA = bytes.fromhex("2a864886f70d010105")


@functools.cache
def key(kind: str) -> Any:
    """A key of this kind; the words after the first tell several of one kind apart."""
    match kind.split(maxsplit=1)[0]:
        case "ec" | "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p224":
            return ec.generate_private_key(ec.SECP224R1())
        case "k256":
            return ec.generate_private_key(ec.SECP256K1())
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "rsa1024":
            return rsa.generate_private_key(65537, 1024)
        case "dsa":
            return dsa.generate_private_key(1024)
        case "x25519":
            return x25519.X25519PrivateKey.generate()
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    raise AssertionError(kind)


def usage(**on: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**(ALL | on))


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


def dns(value: str) -> x509.DNSName:
    return x509.DNSName(value)


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate(
    subject: str,
    own_key: str,
    issuer: str,
    issuer_key: str,
    *,
    ca: bool | None = False,
    path_length: int | None = None,
    names: Sequence[x509.GeneralName] | None = (uri(f"sip:{DOMAIN}"), dns(DOMAIN)),
    key_usage: x509.KeyUsage | None = None,
    uses: Sequence[x509.ObjectIdentifier] = (),
    others: Sequence[tuple[x509.ExtensionType, bool]] = (),
    begins: dt.datetime = LONG_AGO,
    ends: dt.datetime = NOW + 365 * DAY,
) -> x509.Certificate:
    """One certificate; ``ca`` None leaves basicConstraints out."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key(own_key).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = list(others)
    if ca is not None:
        extensions.append((x509.BasicConstraints(ca, path_length), True))
    if names is not None:
        extensions.append((x509.SubjectAlternativeName(names), False))
    if key_usage is not None:
        extensions.append((key_usage, True))
    if uses:
        extensions.append((x509.ExtendedKeyUsage(uses), False))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signer = key(issuer_key)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm)


def authority(
    name: str = "root",
    own_key: str = "ec root",
    issuer: str | None = None,
    issuer_key: str | None = None,
    **wishes: Any,
) -> x509.Certificate:
    """A CA: its own root, or below an issuer."""
    may_sign = usage(key_cert_sign=True, crl_sign=True)
    wishes = {"ca": True, "names": None, "key_usage": may_sign} | wishes
    return certificate(name, own_key, issuer or name, issuer_key or own_key, **wishes)


def signed_with_sha1(made: x509.Certificate, issuer_key: str) -> x509.Certificate:
    """The same with a SHA-1 signature, which the library makes no more: RSA only."""
    der = made.public_bytes(serialization.Encoding.DER)
    tbs = made.tbs_certificate_bytes.replace(_SHA256_RSA, _SHA1_RSA)
    signature = key(issuer_key).sign(tbs, padding.PKCS1v15(), hashes.SHA1())
    changed = der.replace(_SHA256_RSA, _SHA1_RSA).replace(made.signature, signature)
    return x509.load_der_x509_certificate(changed)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def key_pem(kind: str, *, password: bytes | None = None, traditional: bool = False) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    form = serialization.PrivateFormat.PKCS8
    if traditional:
        form = serialization.PrivateFormat.TraditionalOpenSSL
    made: bytes = key(kind).private_bytes(serialization.Encoding.PEM, form, encryption)
    return made


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


def wanted(**changes: Any) -> WantedCredential:
    values: dict[str, Any] = {
        "endpoint": "access",
        "certificate": "/nowhere/certificate.pem",
        "key": "/nowhere/key.pem",
        "ca": "/nowhere/ca.pem",
        "domains": (DOMAIN,),
        "ciphers": DEFAULT_CIPHERS,
    }
    return WantedCredential(**(values | changes))


def write_set(
    folder: Path,
    certificate_text: bytes | None = None,
    key_text: bytes | None = None,
    ca_text: bytes | None = None,
    **changes: Any,
) -> WantedCredential:
    """Write a good set, or one with other texts, and return the wish for it."""
    folder.mkdir(exist_ok=True)
    root = authority()
    texts = {
        "certificate": certificate_text or pem(certificate("edge", "ec edge", "root", "ec root")),
        "key": key_text or key_pem("ec edge"),
        "ca": ca_text or pem(root),
    }
    for name, text in texts.items():
        path = folder / f"{name}.pem"
        path.unlink(missing_ok=True)
        path.write_bytes(text)
        path.chmod(0o400 if name == "key" else 0o444)
    paths = {name: str(folder / f"{name}.pem") for name in texts}
    return wanted(**(paths | changes))
