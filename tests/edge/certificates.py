"""Certificates of a test: an authority of its own, and what it issues."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_MARGIN = dt.timedelta(hours=1)
_KINDS: dict[str, Callable[[str], x509.GeneralName]] = {
    "DNS": x509.DNSName,
    "EMAIL": x509.RFC822Name,
    "URI": x509.UniformResourceIdentifier,
}


class Files(NamedTuple):
    """Where a certificate and its key lie, PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, PEM; the key is not shown."""

    certificate: bytes
    _key: ec.EllipticCurvePrivateKey

    def write(self, folder: Path, name: str = "") -> Files:
        """Write both; the key is its owner's alone."""
        files = Files(folder / f"{name}certificate.pem", folder / f"{name}key.pem")
        files.certificate.write_bytes(self.certificate)
        files.certificate.chmod(0o644)
        files.key.touch(0o600)
        files.key.write_bytes(
            self._key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


class Authority:
    """Signs certificates of servers; ``certificate`` is its own, PEM."""

    def __init__(self, name: str = "Test authority") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        extension = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self._name, self._name, self._key, now - _MARGIN, now + 24 * _MARGIN)
        built = builder.add_extension(extension, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = built.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, *names: str, ends_in: dt.timedelta = 24 * _MARGIN, of_client: bool = False
    ) -> Issued:
        """Issue one for ``names``: ``DNS:...``, ``EMAIL:...``, ``URI:...``; maybe over already."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        nobody = x509.Name([])
        starts = now + min(ends_in, dt.timedelta()) - _MARGIN
        alternatives = [_KINDS[n.partition(":")[0]](n.partition(":")[2]) for n in names]
        of = ExtendedKeyUsageOID.CLIENT_AUTH if of_client else ExtendedKeyUsageOID.SERVER_AUTH
        usage = x509.ExtendedKeyUsage([of])
        built = (
            _builder(nobody, self._name, key, starts, now + ends_in)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
            .add_extension(usage, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(built.public_bytes(serialization.Encoding.PEM), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    starts: dt.datetime,
    ends: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
    )
