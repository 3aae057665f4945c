"""PEM text (RFC 7468): which blocks a file has. Pure.

cryptography takes the first block that it can use and passes over the rest: a second key, or a
key that lies beside a certificate in a file that everybody reads, would never be noticed.
"""

import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from sad.credentials.reasons import Refused
from sad.model.credential import Part

MOST_CHAIN: Final = 10
MOST_ANCHORS: Final = 1024
"""Debian's bundle of all public CAs has about 150."""

_MARK: Final = re.compile(rb"-----(BEGIN|END) ([^\r\n]{0,64}?)-----")
_ANY_MARK: Final = b"-----"
_CERTIFICATES: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_PARAMETERS: Final = "EC PARAMETERS"  # openssl ecparam -genkey writes them before the key
_DER: Final = 0x30  # what every SEQUENCE begins with


def labels_of(text: bytes | bytearray, part: Part) -> tuple[str, ...]:
    """Return the labels of the blocks in order. Of what stands between the marks nothing is read.

    Raises Refused for what is no PEM text or is cut off.
    """
    labels: list[str] = []
    opened: str | None = None
    for mark in _MARK.finditer(text):
        label = mark[2].decode("ascii", "replace")
        begins = mark[1] == b"BEGIN"
        if begins is not (opened is None) or (not begins and label != opened):
            raise Refused("garbage-pem", part, f"block {len(labels) + 1} does not end as it began")
        if begins:
            opened = label
        else:
            labels.append(label)
            opened = None
    if opened is not None:
        raise Refused("garbage-pem", part, f"block {len(labels) + 1} is cut off")
    if not labels:
        if not text.strip():
            raise Refused("empty", part, "there is nothing in the file")
        if _ANY_MARK in text:
            raise Refused("garbage-pem", part, "marks of PEM, but no whole block")
        what = "DER, not PEM" if text[0] == _DER else "no PEM text"
        raise Refused("not-pem", part, f"the file is {what}")
    return tuple(labels)


def certificates_of(text: bytes, part: Part, most: int) -> list[x509.Certificate]:
    """Return the certificates of a file that holds nothing else, in their order."""
    labels = labels_of(text, part)
    for label in labels:
        if label.endswith("PRIVATE KEY"):
            raise Refused("key-beside-certificate", part, "the file also holds a private key")
        if label not in _CERTIFICATES:
            raise Refused("foreign-block", part, f"the file holds a block {label!r}")
    if len(labels) > most:
        raise Refused(
            "too-many-certificates", part, f"{len(labels)} certificates, at most {most} may be"
        )
    try:
        found = x509.load_pem_x509_certificates(text)
    except (ValueError, x509.InvalidVersion):
        found = []
    if len(found) != len(labels):
        raise Refused("garbage-pem", part, "what stands between the marks is no certificate")
    for place, certificate in enumerate(found, start=1):
        _require_readable(certificate, place, part)
    for place, certificate in enumerate(found):
        if part is Part.CERTIFICATE and certificate in found[:place]:
            raise Refused("twice", part, f"certificate {place + 1} stands there twice")
    return found


def _require_readable(certificate: x509.Certificate, place: int, part: Part) -> None:
    """Read what the library reads only when it is asked; raises Refused."""
    try:
        certificate.public_key()
    except UnsupportedAlgorithm:
        text = f"certificate {place} is of a key of a kind nobody knows"
        raise Refused("unsupported-key", part, text) from None
    except ValueError:
        raise Refused("garbage-pem", part, f"certificate {place} is of no valid key") from None
    try:
        for name in (certificate.subject, certificate.issuer):
            name.rfc4514_string()
    except (ValueError, TypeError):
        raise Refused("garbage-pem", part, f"names of certificate {place} are none") from None


def require_one_key(text: bytes | bytearray) -> None:
    """Raise Refused unless a file holds one private key in clear, and nothing else."""
    labels = [label for label in labels_of(text, Part.KEY) if label != _PARAMETERS]
    keys = [label for label in labels if label.endswith("PRIVATE KEY")]
    if not keys:
        seen = ", ".join(labels) or _PARAMETERS
        raise Refused("no-key", Part.KEY, f"the file holds no private key, but {seen}")
    if len(keys) > 1:
        raise Refused("two-keys", Part.KEY, f"the file holds {len(keys)} keys")
    others = [label for label in labels if label not in keys]
    if others:
        reason = "certificate-beside-key" if others[0] in _CERTIFICATES else "foreign-block"
        raise Refused(reason, Part.KEY, f"beside the key the file holds {', '.join(others)}")
    if keys[0].startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in text:
        raise Refused("encrypted-key", Part.KEY, "the key is encrypted")
