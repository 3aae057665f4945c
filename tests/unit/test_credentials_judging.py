"""Credential sets judged: each bad one is refused with its own reason, by its own rule.

TLS-1 (RFC 5922), UPD-8996, RFC 5280. What cryptography itself leaves to us is in the table too:
its policy for end entities is switched off, because that one is of HTTPS.
"""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from netlink.secret import Secret
from sad.credentials.judging import Judged, Material, judge
from sad.credentials.leaf import SIP_DOMAIN
from sad.credentials.reasons import REASONS
from sad.model.credential import Part, TlsVersion
from tests.support.credential_maker import (
    DAY,
    DOMAIN,
    NOW,
    authority,
    certificate,
    der,
    dns,
    key_pem,
    pem,
    signed_with_sha1,
    uri,
    usage,
    wanted,
)

ROOT, LEAF = "ec root", "ec edge"
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def leaf(**wishes: Any) -> x509.Certificate:
    return certificate("edge", wishes.pop("own_key", LEAF), "root", ROOT, **wishes)


def below(issuer: str, issuer_key: str, **wishes: Any) -> x509.Certificate:
    return certificate("edge", LEAF, issuer, issuer_key, **wishes)


def middle(**wishes: Any) -> x509.Certificate:
    return authority("middle", "ec middle", "root", ROOT, **wishes)


def judged(
    chain: bytes | None = None,
    key: bytes | None = None,
    ca: bytes | None = None,
    **wishes: Any,
) -> Judged:
    material = Material(
        certificate=pem(leaf()) if chain is None else chain,
        key=Secret(key_pem(LEAF) if key is None else key),
        ca=pem(authority()) if ca is None else ca,
    )
    return judge(material, wanted(**wishes), NOW.timestamp())


def of_names(*names: x509.GeneralName, domain: str = DOMAIN) -> Judged:
    return judged(pem(leaf(names=names)), domains=(domain,))


def constrained(**constraints: Any) -> bytes:
    sets = {"permitted_subtrees": None, "excluded_subtrees": None} | constraints
    return pem(
        below("middle", "ec middle"),
        middle(others=[(x509.NameConstraints(**sets), True)]),
    )


def too_long_a_path() -> bytes:
    low = authority("low", "ec low", "middle", "ec middle")
    return pem(below("low", "ec low"), low, middle(path_length=0))


def swapped(text: bytes) -> bytes:
    """A certificate one of whose signature bytes is another."""
    made = bytearray(der(x509.load_pem_x509_certificate(text)))
    made[-1] ^= 1
    return pem(x509.load_der_x509_certificate(bytes(made)))


def sha1_leaf() -> Judged:
    root = authority("rsa root", "rsa")
    made = signed_with_sha1(certificate("edge", LEAF, "rsa root", "rsa"), "rsa")
    return judged(pem(made), ca=pem(root))


def weak_issuer() -> Judged:
    weak = authority("weak", "rsa1024", "root", ROOT)
    return judged(pem(below("weak", "rsa1024"), weak))


#: P-256 and an uncompressed point (RFC 5480), the subject's name: what the library reads late.
_P256 = bytes.fromhex("06082a8648ce3d030107")
_POINT = b"\x03\x42\x00\x04"
_SUBJECT = b"\x0c\x04edge"


def patched(old: bytes, new: bytes) -> bytes:
    """A certificate whose text is whole, but one of whose values is none."""
    made = der(leaf())
    assert old in made
    return pem_of(made.replace(old, new))


def pem_of(made: bytes) -> bytes:
    text = base64.encodebytes(made)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
BROKEN_NAMES = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x05\x00")
BAD: list[tuple[str, Callable[[], Judged]]] = [
    # --- PEM, certificate file ---
    ("empty", lambda: judged(b"\n")),
    ("not-pem", lambda: judged(der(leaf()))),
    ("not-pem", lambda: judged(b"certificate")),
    ("garbage-pem", lambda: judged(pem(leaf())[:-10])),
    ("garbage-pem", lambda: judged(pem(leaf())[:80] + b"!!!!" + pem(leaf())[80:])),
    (
        "garbage-pem",
        lambda: judged(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ),
    ("garbage-pem", lambda: judged(pem(leaf()).replace(b"END CERT", b"END KERT"))),
    ("garbage-pem", lambda: judged(patched(_POINT, b"\x03\x42\x00\x05"))),
    ("garbage-pem", lambda: judged(patched(_SUBJECT, b"\x0c\x04\xff\xff\xff\xff"))),
    ("unsupported-key", lambda: judged(patched(_P256, _P256[:-1] + b"\x63"))),
    ("unsupported-key", lambda: judged(ca=patched(_P256, _P256[:-1] + b"\x63"))),
    ("garbage-pem", lambda: judged(b"-----BEGIN\n")),
    ("key-beside-certificate", lambda: judged(pem(leaf()) + key_pem(LEAF))),
    (
        "foreign-block",
        lambda: judged(pem(leaf()) + b"-----BEGIN X509 CRL-----\nAA\n-----END X509 CRL-----\n"),
    ),
    ("too-many-certificates", lambda: judged(pem(*[authority()] * 11))),
    ("twice", lambda: judged(pem(*[leaf()] * 2))),
    # --- PEM, key file ---
    ("empty", lambda: judged(key=b" ")),
    ("not-pem", lambda: judged(key=b"\x30\x82")),
    ("no-key", lambda: judged(key=pem(leaf()))),
    ("two-keys", lambda: judged(key=key_pem(LEAF) + key_pem("ec other"))),
    ("certificate-beside-key", lambda: judged(key=key_pem(LEAF) + pem(leaf()))),
    (
        "foreign-block",
        lambda: judged(
            key=key_pem(LEAF) + b"-----BEGIN DH PARAMETERS-----\n-----END DH PARAMETERS-----\n"
        ),
    ),
    ("garbage-pem", lambda: judged(key=key_pem(LEAF)[:-40])),
    ("garbage-pem", lambda: judged(key=key_pem(LEAF).replace(b"\nM", b"\nA"))),
    ("encrypted-key", lambda: judged(key=key_pem(LEAF, password=b"secret"))),
    (
        "encrypted-key",
        lambda: judged(key=key_pem(LEAF, password=b"secret", traditional=True)),
    ),
    # --- keys ---
    ("unsupported-key", lambda: judged(pem(leaf(own_key="x25519")), key_pem("x25519"))),
    ("weak-key", lambda: judged(pem(leaf(own_key="rsa1024")), key_pem("rsa1024"))),
    ("weak-curve", lambda: judged(pem(leaf(own_key="p224")), key_pem("p224"))),
    ("weak-curve", lambda: judged(pem(leaf(own_key="k256")), key_pem("k256"))),
    ("key-mismatch", lambda: judged(key=key_pem("ec other"))),
    ("key-of-another-kind", lambda: judged(key=key_pem("rsa"))),
    ("key-of-another-kind", lambda: judged(pem(leaf(own_key="rsa")), key_pem("ec other"))),
    # --- the certificate ---
    ("weak-signature", sha1_leaf),
    ("not-yet-valid", lambda: judged(pem(leaf(begins=NOW + DAY)))),
    ("expired", lambda: judged(pem(leaf(ends=NOW - DAY)))),
    ("ca-as-end-entity", lambda: judged(pem(leaf(ca=True)))),
    ("key-usage", lambda: judged(pem(leaf(key_usage=usage(key_encipherment=True))))),
    ("extended-key-usage", lambda: judged(pem(leaf(uses=[CLIENT])))),
    ("unknown-critical-extension", lambda: judged(pem(leaf(others=[(UNKNOWN, True)])))),
    ("bad-extension", lambda: judged(pem(leaf(names=None, others=[(BROKEN_NAMES, False)])))),
    # --- RFC 5922 7.1, 7.2 ---
    ("no-alternative-name", lambda: judged(pem(leaf(names=None)))),  # the common name only
    ("wildcard", lambda: of_names(dns("*.example.org"))),
    ("wildcard", lambda: of_names(uri("sip:*.example.org"))),
    ("uri-with-user", lambda: of_names(uri(f"sip:alice@{DOMAIN}"))),
    ("sips-uri", lambda: of_names(uri(f"sips:{DOMAIN}"))),
    ("dns-beside-uri", lambda: of_names(uri("sip:other.example.org"), dns(DOMAIN))),
    ("domain-mismatch", lambda: of_names(uri("sip:other.example.org"), dns("a.example.org"))),
    ("domain-mismatch", lambda: of_names(dns("example.org"))),  # no suffix matches
    ("no-sip-identity", lambda: of_names(uri(f"https://{DOMAIN}/"))),
    ("no-sip-identity", lambda: of_names(x509.RFC822Name(f"sip@{DOMAIN}"))),
    # --- the chain ---
    ("leaf-not-first", lambda: judged(pem(middle(), below("middle", "ec middle")))),
    (
        "chain-order",
        lambda: judged(pem(below("middle", "ec middle"), authority(), middle())),
    ),
    ("outside-chain", lambda: judged(pem(leaf(), authority("stray", "ec stray")))),
    ("missing-intermediate", lambda: judged(pem(below("middle", "ec middle")))),
    ("self-signed", lambda: judged(pem(certificate("edge", LEAF, "edge", LEAF)))),
    (
        "untrusted",
        lambda: judged(
            pem(below("foreign", "ec foreign"), authority("foreign", "ec foreign")),
        ),
    ),
    ("bad-signature", lambda: judged(swapped(pem(leaf())))),
    ("bad-signature", lambda: judged(ca=pem(authority("root", "ec impostor")))),
    (
        "bad-signature",
        lambda: judged(pem(below("middle", "ec impostor"), middle())),
    ),
    (
        "issuer-expired",
        lambda: judged(pem(below("middle", "ec middle"), middle(ends=NOW - DAY))),
    ),
    ("issuer-expired", lambda: judged(ca=pem(authority(ends=NOW - DAY)))),
    (
        "issuer-not-yet-valid",
        lambda: judged(pem(below("middle", "ec middle"), middle(begins=NOW + DAY))),
    ),
    (
        "issuer-not-ca",
        lambda: judged(pem(below("middle", "ec middle"), middle(ca=False, key_usage=None))),
    ),
    (
        "issuer-key-usage",
        lambda: judged(
            pem(below("middle", "ec middle"), middle(key_usage=usage(digital_signature=True)))
        ),
    ),
    ("issuer-weak-key", weak_issuer),
    ("path-length", lambda: judged(too_long_a_path())),
    ("name-constraints", lambda: judged(constrained(permitted_subtrees=[dns("example.net")]))),
    ("name-constraints", lambda: judged(constrained(excluded_subtrees=[dns("example.org")]))),
    # of URIs the library knows no constraints: then nobody vouches for them
    ("name-constraints", lambda: judged(constrained(permitted_subtrees=[uri("example.org")]))),
    # --- trust anchors, ciphers ---
    ("anchor-not-ca", lambda: judged(ca=pem(authority(), leaf()))),
    ("anchor-not-ca", lambda: judged(pem(leaf()), ca=pem(leaf()))),
    ("key-beside-certificate", lambda: judged(ca=pem(authority()) + key_pem(ROOT))),
    ("empty", lambda: judged(ca=b"\n\n")),
    (
        "no-fitting-cipher",
        lambda: judged(ciphers=("ECDHE-RSA-AES256-GCM-SHA384",)),
    ),
]


@pytest.mark.parametrize(
    ("reason", "bad"), BAD, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(BAD)]
)
def test_a_bad_set_is_refused_with_its_own_reason(reason: str, bad: Callable[[], Judged]) -> None:
    """TLS-1, UPD-8996: the reason is told, with its rule and a way out; nothing is taken."""
    found = bad()

    assert [refusal.reason for refusal in found.refusals] == [reason], found.refusals
    assert found.facts is None
    assert found.refusals[0].rule
    assert found.refusals[0].hint
    assert b"PRIVATE" not in str(found).encode()


def test_the_table_knows_most_reasons() -> None:
    """What is left are those of files, of the time and of what went wrong beside a set."""
    elsewhere = {
        *("missing-file", "unreadable", "link", "not-regular", "wrong-owner", "too-big"),
        *("key-open-to-others", "writable-by-others", "no-credentials-directory"),
        *("expires-soon", "cannot-write", "no-access-list", "no-memory-file", "reload-failed"),
        *("revoked", "root-sent"),
        # The library builds neither, and our own walk finds everything before it refuses.
        *("old-version", "chain-refused", "no-certificate"),
    }
    assert {reason for reason, _ in BAD} == set(REASONS) - elsewhere


PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
GOOD: list[tuple[str, Callable[[], Judged]]] = [
    ("a sip: URI, DNS beside it", judged),
    ("the URI alone", lambda: of_names(uri(f"sip:{DOMAIN}"))),
    ("DNS without any sip: URI", lambda: of_names(dns(DOMAIN), uri("https://example.org"))),
    ("without regard to case", lambda: of_names(uri(f"SIP:{DOMAIN.upper()}"))),
    ("a URI with port and parameters", lambda: of_names(uri(f"sip:{DOMAIN}:5061;x=y"))),
    ("a wildcard that nobody needs", lambda: of_names(dns(DOMAIN), dns("*.example.org"))),
    ("RFC 5924: id-kp-sipDomain", lambda: judged(pem(leaf(uses=[SIP_DOMAIN])))),
    ("serverAuth beside clientAuth", lambda: judged(pem(leaf(uses=[SERVER, CLIENT])))),
    (
        "keyUsage digitalSignature",
        lambda: judged(pem(leaf(key_usage=usage(digital_signature=True)))),
    ),
    ("no basicConstraints", lambda: judged(pem(leaf(ca=None)))),
    ("an intermediate", lambda: judged(pem(below("middle", "ec middle"), middle(path_length=0)))),
    ("the root is sent, too", lambda: judged(pem(leaf(), authority()))),
    ("a CA without keyUsage", lambda: judged(ca=pem(authority(key_usage=None)))),
    ("RSA 2048", lambda: judged(pem(leaf(own_key="rsa")), key_pem("rsa"))),
    (
        "an RSA key in PKCS 1",
        lambda: judged(pem(leaf(own_key="rsa")), key_pem("rsa", traditional=True)),
    ),
    ("P-384", lambda: judged(pem(leaf(own_key="p384")), key_pem("p384"))),
    ("Ed25519", lambda: judged(pem(leaf(own_key="ed25519")), key_pem("ed25519"))),
    (
        "EC parameters before the key",
        lambda: judged(key=PARAMETERS + key_pem(LEAF, traditional=True)),
    ),
    ("text of openssl around the blocks", lambda: judged(b"Certificate:\n" + pem(leaf()))),
    (
        "names within constraints",
        lambda: judged(constrained(permitted_subtrees=[dns("example.org")])),
    ),
    (
        "an old root beside its successor",
        lambda: judged(ca=pem(authority(ends=NOW - DAY), authority())),
    ),
    (
        "another key's root of the same name",
        lambda: judged(ca=pem(authority("root", "ec new"), authority())),
    ),
    (
        "TLS 1.3 alone needs no ciphers",
        lambda: judged(ciphers=(), minimum_version=TlsVersion.TLS13),
    ),
]


@pytest.mark.parametrize(("what", "good"), GOOD, ids=[what for what, _ in GOOD])
def test_a_good_set_is_taken(what: str, good: Callable[[], Judged]) -> None:
    """TLS-1: what RFC 5922 allows and HTTPS would not, is taken, with its facts."""
    found = good()

    assert found.refusals == (), what
    assert found.facts is not None
    assert DOMAIN in found.facts.names
    assert found.facts.subject == "CN=edge"
    assert found.facts.valid_until == (NOW + 365 * DAY).timestamp()


def test_the_sent_root_is_worth_a_word() -> None:
    """RFC 5246 7.4.2: it may be left out."""
    assert [w.reason for w in judged(pem(leaf(), authority())).warnings] == ["root-sent"]


def test_the_first_end_of_the_chain_counts() -> None:
    """RFC 5280 6.1.3: a chain is as good as its weakest date; it is said whose that is."""
    soon = NOW + 5 * DAY
    found = judged(pem(below("middle", "ec middle"), middle(ends=soon)))
    assert found.facts is not None
    assert found.facts.valid_until == soon.timestamp()
    assert found.facts.ends_first == "its issuer CN=middle"
    assert found.facts.not_after == (NOW + 365 * DAY).timestamp()


def test_all_that_is_wrong_is_told_at_once() -> None:
    """An operator mends a set once, not fault by fault."""
    bad = leaf(ends=NOW - DAY, names=[dns("*.example.org")], uses=[CLIENT])
    found = judged(pem(bad), key_pem("ec other"), b"")
    assert {refusal.reason for refusal in found.refusals} == {
        *("expired", "wildcard", "extended-key-usage", "key-mismatch", "empty")
    }
    assert {refusal.part for refusal in found.refusals} == {Part.CERTIFICATE, Part.KEY, Part.CA}


def test_every_domain_of_the_endpoint_must_be_named() -> None:
    """RFC 5922 7.2: for each one that is not there is its own refusal."""
    found = judged(domains=(DOMAIN, "b.example.org", "c.example.org"))
    assert [r.reason for r in found.refusals] == ["domain-mismatch"] * 2
    assert "b.example.org" in found.refusals[0].text


def test_the_time_is_an_argument() -> None:
    """The same set a year later has expired."""
    material = Material(
        certificate=pem(leaf()), key=Secret(key_pem(LEAF)), ca=pem(authority(ends=NOW + 900 * DAY))
    )
    later = (NOW + 366 * DAY).timestamp()
    assert [r.reason for r in judge(material, wanted(), later).refusals] == ["expired"]
