"""RFC 5922: which certificates are those of a SIP domain."""

from typing import Any

import pytest

from sip_hooks.secagree.certificate import find_domain_fault, sip_domains

COMMON = ((("countryName", "AT"),), (("commonName", "example.org"),))


def certificate(*alternatives: tuple[str, str], subject: Any = COMMON) -> dict[str, Any]:
    """Return one as Python's ssl shows it."""
    shown = {"subject": subject}
    return shown | {"subjectAltName": alternatives} if alternatives else shown


@pytest.mark.parametrize(
    "one",
    [
        certificate(("URI", "sip:example.org")),
        certificate(("URI", "SIP:Example.ORG")),
        certificate(("DNS", "example.org")),
        certificate(("DNS", "edge.example.net"), ("URI", "sip:example.org")),
        certificate(),  # TLS-1: the common name stands in only where nothing else is there
    ],
)
def test_a_certificate_of_the_domain(one: dict[str, Any]) -> None:
    """TLS-1, RFC 5922 7.1: URI or DNS, in any case."""
    assert find_domain_fault(one, "example.ORG") is None


@pytest.mark.parametrize(
    ("one", "named"),
    [
        (certificate(("DNS", "example.net")), "example.net"),  # though the common name is right
        (certificate(("DNS", "*.example.org"), ("DNS", "*")), "*, *.example.org"),
        (certificate(("URI", "sip:alice@example.org")), "no SIP domain"),
        (certificate(("URI", "sips:example.org")), "no SIP domain"),
        (certificate(("URI", "https://example.org")), "no SIP domain"),
        (certificate(("IP Address", "10.40.0.1")), "no SIP domain"),
        (certificate(("DNS", "hop.example.org")), "hop.example.org"),
        (certificate(("DNS", "org")), "org"),
        (certificate(subject=()), "no SIP domain"),
        ({}, "no SIP domain"),
    ],
)
def test_a_certificate_of_somebody_else(one: dict[str, Any], named: str) -> None:
    """TLS-1, RFC 5922 7.1, 7.2: no suffix, no wildcard, no user, no other scheme."""
    assert find_domain_fault(one, "example.org") == (
        f"the certificate names '{named}', not 'example.org'"
    )


def test_a_wildcard_is_nobodys_domain() -> None:
    """RFC 5922 7.2: not even where both sides have the same one."""
    one = certificate(("DNS", "*.example.org"))

    assert sip_domains(one) == {"*.example.org"}
    assert find_domain_fault(one, "*.example.org") is not None
