"""A whole set judged: bytes, wishes and the time in; findings and facts out. Pure.

Everything wrong is found in one run, so that an operator mends a set once; what cannot be read
hides what depends on it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from netlink.secret import Secret
from sad.credentials import keys
from sad.credentials.chain import (
    find_anchor_faults,
    find_issuer_faults,
    find_order_faults,
    is_of_key,
    sent_anchor,
    verified_chain,
)
from sad.credentials.leaf import (
    alternative_names_of,
    extension,
    find_leaf_faults,
    issuer_of,
    subject_of,
)
from sad.credentials.names import find_name_faults, names_of
from sad.credentials.pem import MOST_ANCHORS, MOST_CHAIN, certificates_of
from sad.credentials.reasons import Refused, finding
from sad.model import tls_ciphers
from sad.model.credential import (
    CertificateFacts,
    Finding,
    Part,
    TlsVersion,
    WantedCredential,
)

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the three files hold. A part is None where its file was refused already."""

    certificate: bytes | None
    key: Secret | None
    ca: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """``facts`` and ``public_key`` (DER) are there if nothing was refused."""

    refusals: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    facts: CertificateFacts | None = None
    public_key: bytes = b""


def judge(material: Material, wanted: WantedCredential, now: float) -> Judged:
    """Judge a set at an instant, in real-time seconds."""
    refusals: list[Finding] = []

    def attempt(read: Callable[[], _Read]) -> _Read | None:
        try:
            return read()
        except Refused as refused:
            refusals.append(refused.finding)
            return None

    certificate, ca, key = material.certificate, material.ca, material.key
    chain = anchors = public = None
    if certificate is not None:
        chain = attempt(lambda: certificates_of(certificate, Part.CERTIFICATE, MOST_CHAIN))
    if key is not None:
        public = attempt(lambda: keys.public_key_of(key))
    if ca is not None:
        anchors = attempt(lambda: certificates_of(ca, Part.CA, MOST_ANCHORS))
    instant = datetime.fromtimestamp(now, UTC)
    if anchors is not None:
        attempt(lambda: refusals.extend(find_anchor_faults(anchors)))
    if public is not None and not (chain and is_of_key(chain[0], keys.encoded(public))):
        refusals += _key_weaknesses(public)  # else told of the certificate
    if chain is None:
        return Judged(refusals=tuple(refusals))
    trustworthy = not any(refusal.part is Part.CA for refusal in refusals)
    if public is not None:
        refusals += _key_faults(chain, public)
    misplaced = any(refusal.reason == "leaf-not-first" for refusal in refusals)
    if not misplaced:  # else all below would be told of an issuer's certificate
        attempt(lambda: refusals.extend(_leaf_faults(chain[0], wanted, instant)))
    order = [] if misplaced else list(find_order_faults(chain))
    refusals += order
    if anchors is None or order or misplaced or not trustworthy:
        return Judged(refusals=tuple(refusals))
    attempt(lambda: refusals.extend(find_issuer_faults(chain, anchors, instant)))
    if refusals:  # the library would say the same in fewer words
        return Judged(refusals=tuple(refusals))
    whole = attempt(lambda: verified_chain(chain, anchors, instant))
    if whole is None or public is None or refusals:
        return Judged(refusals=tuple(refusals))
    return Judged(
        refusals=(),
        warnings=tuple(_warnings(chain, anchors)),
        facts=_facts(chain[0], whole),
        public_key=keys.encoded(public),
    )


def _key_weaknesses(public: PublicKeyTypes) -> Iterator[Finding]:
    if (weakness := keys.weakness_of(public)) is not None:
        yield finding(weakness[0], Part.KEY, weakness[1])


def _key_faults(chain: Sequence[x509.Certificate], public: PublicKeyTypes) -> Iterator[Finding]:
    own = keys.encoded(public)
    if is_of_key(chain[0], own):
        return
    for place, other in enumerate(chain[1:], start=2):
        if is_of_key(other, own):
            text = f"the key is of certificate {place}: it must stand first"
            yield finding("leaf-not-first", Part.CERTIFICATE, text)
            return
    there = keys.kind_of(chain[0].public_key())
    here = keys.kind_of(public)
    if there != here:
        text = f"the key is {here}, the certificate's is {there}"
        yield finding("key-of-another-kind", Part.KEY, text)
    else:
        yield finding("key-mismatch", Part.KEY, "the certificate is of another key")


def _leaf_faults(
    leaf: x509.Certificate, wanted: WantedCredential, now: datetime
) -> Iterator[Finding]:
    yield from find_leaf_faults(leaf, now)
    alternatives = extension(leaf, x509.SubjectAlternativeName)
    yield from find_name_faults(names_of(alternatives), alternatives, wanted.domains)
    kind = keys.kind_of(leaf.public_key())
    if wanted.minimum_version is TlsVersion.TLS12 and not tls_ciphers.fits(wanted.ciphers, kind):
        text = f"none of the ciphers is for a key of the kind {kind}"
        yield finding("no-fitting-cipher", Part.CIPHERS, text)


def _warnings(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> Iterator[Finding]:
    if sent_anchor(chain, anchors) is not None:
        text = f"the root {subject_of(chain[-1])} is sent to every peer"
        yield finding("root-sent", Part.CERTIFICATE, text)


def _facts(leaf: x509.Certificate, whole: Sequence[x509.Certificate]) -> CertificateFacts:
    alternatives = extension(leaf, x509.SubjectAlternativeName)
    first = min(whole, key=lambda certificate: certificate.not_valid_after_utc)
    return CertificateFacts(
        subject=subject_of(leaf),
        issuer=issuer_of(leaf),
        serial=f"{leaf.serial_number:x}",
        names=names_of(alternatives).identities,
        alternative_names=alternative_names_of(alternatives),
        algorithm=keys.name_of(leaf.public_key()),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        valid_until=first.not_valid_after_utc.timestamp(),
        ends_first="the certificate" if first == leaf else f"its issuer {subject_of(first)}",
    )
