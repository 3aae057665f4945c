"""From the certificate to a trust anchor (RFC 5280 6.1). Pure: the time is an argument.

What is wrong is named by our own walk; that nothing is wrong is decided by the library, which
must agree in the end. It does not know constraints of URIs (4.2.1.10) and refuses where a CA has
them and the certificate has a sip: URI.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from sad.credentials.keys import encoded, weakness_of
from sad.credentials.leaf import extension, issuer_of, subject_of, weak_hash_of, when
from sad.credentials.reasons import Refused, finding
from sad.model.credential import Finding, Part

_WORDS: Final = {
    "path length": "path-length",
    "name constraint": "name-constraints",
    "unaccounted-for critical": "unknown-critical-extension",
}


def find_order_faults(chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    """Find certificates that did not issue the one before them (RFC 5246 7.4.2)."""
    for place, (lower, upper) in enumerate(pairwise(chain), start=2):
        if lower.issuer == upper.subject:
            if _signed(lower, upper):
                continue
            text = f"certificate {place} has the issuer's name, but did not sign the one before"
            yield finding("bad-signature", Part.CERTIFICATE, text)
        elif any(other.subject == lower.issuer for other in chain if other is not lower):
            text = f"certificate {place} stands where the issuer of the one before should"
            yield finding("chain-order", Part.CERTIFICATE, text)
        else:
            text = f"certificate {place} ({subject_of(upper)}) issued none of those before"
            yield finding("outside-chain", Part.CERTIFICATE, text)
        return  # the rest follows from the first


def find_issuer_faults(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime
) -> Iterator[Finding]:
    """Find what is wrong above the certificate. ``chain`` is in order."""
    last = chain[-1]
    if (own := sent_anchor(chain, anchors)) is not None:
        ends = own
    elif last.issuer == last.subject:
        what = "it is" if len(chain) == 1 else f"{subject_of(last)} is"
        reason = "self-signed" if len(chain) == 1 else "untrusted"
        text = f"{what} signed by itself, and none of the ca file"
        yield finding(reason, Part.CERTIFICATE, text)
        return
    else:
        above = [anchor for anchor in anchors if anchor.subject == last.issuer]
        if not above:
            text = f"the issuer {issuer_of(last)} is neither in the chain nor in the ca file"
            yield finding("missing-intermediate", Part.CERTIFICATE, text)
            return
        signers = [anchor for anchor in above if _signed(last, anchor)]
        if not signers:
            text = f"{subject_of(above[0])} of the ca file has the issuer's name, but not its key"
            yield finding("bad-signature", Part.CA, text)
            return
        in_time = [anchor for anchor in signers if not _is_out_of_time(anchor, now)]
        ends = (in_time or signers)[0]
    for issuer in chain[1:-1] if own is not None else chain[1:]:
        yield from _issuer_faults(issuer, Part.CERTIFICATE, now)
    yield from _issuer_faults(ends, Part.CA, now)


def sent_anchor(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """Return the anchor that the chain ends with, if it does; it may have been issued anew."""
    last = chain[-1]
    own = encoded(last.public_key())
    same = (a for a in anchors if a.subject == last.subject and is_of_key(a, own))
    return next(same, None)


def find_anchor_faults(anchors: Sequence[x509.Certificate]) -> Iterator[Finding]:
    """Find what of the ca file is no CA: it would vouch for anything it signed."""
    for place, anchor in enumerate(anchors, start=1):
        constraints = extension(anchor, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            text = f"certificate {place} ({subject_of(anchor)}) is none of a CA"
            yield finding("anchor-not-ca", Part.CA, text)


def verified_chain(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    """Return the chain up to its anchor as the library finds it; raises Refused if it refuses."""
    verifier = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(now)
        .extension_policies(ca_policy=_CA_POLICY, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()  # the verifier of servers asks for a DNS name
    )
    try:
        return list(verifier.verify(chain[0], list(chain[1:])).chain)
    except VerificationError as error:
        said = str(error)
        reason = next((word for part, word in _WORDS.items() if part in said), "chain-refused")
        short = said.rpartition("exhausted: ")[2].partition(" (encountered")[0]
        raise Refused(
            reason, Part.CERTIFICATE, short.removeprefix("validation failed: ")
        ) from None


def _issuer_faults(issuer: x509.Certificate, part: Part, now: datetime) -> Iterator[Finding]:
    name = subject_of(issuer)
    constraints = extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield finding("issuer-not-ca", part, f"{name} is no CA")
    usage = extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield finding("issuer-key-usage", part, f"keyUsage of {name} lacks keyCertSign")
    if now < issuer.not_valid_before_utc:
        text = f"{name} is valid from {when(issuer.not_valid_before_utc)}"
        yield finding("issuer-not-yet-valid", part, text)
    if now > issuer.not_valid_after_utc:
        text = f"{name} expired at {when(issuer.not_valid_after_utc)}"
        yield finding("issuer-expired", part, text)
    if (weakness := weakness_of(issuer.public_key())) is not None:
        yield finding("issuer-weak-key", part, f"key of {name}: {weakness[1]}")
    # An anchor's signature on itself proves nothing, so nobody asks how good it is.
    if part is Part.CERTIFICATE and (hash_name := weak_hash_of(issuer)) is not None:
        yield finding("weak-signature", part, f"{name} is signed with {hash_name}")


def _is_out_of_time(certificate: x509.Certificate, now: datetime) -> bool:
    return not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _signed(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    if weak_hash_of(lower) is not None:  # the library verifies none, and it is refused for that
        return True
    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def is_of_key(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether a certificate is of the public key with this encoding."""
    return encoded(certificate.public_key()) == key


def _may_sign(_policy: Policy, _issuer: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("keyUsage lacks keyCertSign")


#: As the library's own for CAs, but that keyUsage may be absent: private CAs often have none.
_CA_POLICY: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)
