"""The certificate itself, without its issuers: what RFC 5280 and RFC 5924 ask of it. Pure.

The library's verification is told to leave these to us: its own rules are those of HTTPS, which
refuse sip: URIs and id-kp-sipDomain and take wildcards.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from sad.credentials.keys import weakness_of
from sad.credentials.reasons import Refused, finding
from sad.model.credential import Finding, Part

SIP_DOMAIN: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20")
"""id-kp-sipDomain of RFC 5924."""

_USES: Final = frozenset(
    {SIP_DOMAIN, ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)
_HASHES: Final = (
    hashes.SHA256,
    hashes.SHA384,
    hashes.SHA512,
    hashes.SHA3_256,
    hashes.SHA3_384,
    hashes.SHA3_512,
)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return an extension, None if it is absent; raises Refused if they cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension):
        text = f"its extensions cannot be read: {subject_of(certificate)}"
        raise Refused("bad-extension", Part.CERTIFICATE, text) from None


def find_leaf_faults(leaf: x509.Certificate, now: datetime) -> Iterator[Finding]:
    """Find everything that is wrong with the certificate but its names and issuers."""
    part = Part.CERTIFICATE
    constraints = extension(leaf, x509.BasicConstraints)
    if leaf.version is not x509.Version.v3:
        yield finding("old-version", part, f"the certificate is of version {leaf.version.name}")
    if constraints is not None and constraints.ca:
        yield finding("ca-as-end-entity", part, "it is the certificate of a CA")
    if (weakness := weakness_of(leaf.public_key())) is not None:
        yield finding(weakness[0], part, f"its key: {weakness[1]}")
    if (hash_name := weak_hash_of(leaf)) is not None:
        yield finding("weak-signature", part, f"it is signed with {hash_name}")
    if now < leaf.not_valid_before_utc:
        yield finding("not-yet-valid", part, f"valid from {when(leaf.not_valid_before_utc)}")
    if now > leaf.not_valid_after_utc:
        yield finding("expired", part, f"it expired at {when(leaf.not_valid_after_utc)}")
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield finding("key-usage", part, "keyUsage lacks digitalSignature")
    uses = extension(leaf, x509.ExtendedKeyUsage)
    if uses is not None and _USES.isdisjoint(uses):
        # the names of the library have underscores before them
        names = ", ".join(use.dotted_string for use in uses)
        yield finding("extended-key-usage", part, f"extendedKeyUsage is {names}")
    for other in leaf.extensions:
        if other.critical and isinstance(other.value, x509.UnrecognizedExtension):
            oid = other.oid.dotted_string
            yield finding("unknown-critical-extension", part, f"extension {oid} is critical")


def weak_hash_of(certificate: x509.Certificate) -> str | None:
    """Return the hash of a signature that is not to be trusted any more, None if it is good."""
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"an unknown algorithm ({certificate.signature_algorithm_oid.dotted_string})"
    if used is None or isinstance(used, _HASHES):  # None: Ed25519 hashes by itself
        return None
    return used.name.upper()


def when(instant: datetime) -> str:
    """Return an instant as people read it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as one line without control characters."""
    return _printable(certificate.subject.rfc4514_string()) or "(no subject)"


def issuer_of(certificate: x509.Certificate) -> str:
    """Return the issuer as one line without control characters."""
    return _printable(certificate.issuer.rfc4514_string()) or "(no issuer)"


def alternative_names_of(alternatives: x509.SubjectAlternativeName | None) -> tuple[str, ...]:
    """Return every name of subjectAltName as ``URI:sip:example.org``."""
    return tuple(_printable(_text_of(name)) for name in alternatives or ())


def _text_of(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DNSName):
        return f"DNS:{name.value}"
    if isinstance(name, x509.UniformResourceIdentifier):
        return f"URI:{name.value}"
    if isinstance(name, x509.IPAddress):
        return f"IP:{name.value}"
    if isinstance(name, x509.RFC822Name):
        return f"email:{name.value}"
    return f"other:{type(name).__name__}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
