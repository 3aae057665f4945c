"""Whose certificate it is: SIP domains in it, by RFC 5922, for what RFC 3329 calls tls.

The TLS stack has checked chain, times and signature; whether the certificate names the domain that
the agreement is with is another question, and its rules are not those of HTTPS: a URI counts, a
wildcard never does.
"""

from __future__ import annotations

from typing import Any, FrozenSet, Iterator, Mapping, Optional

from sip_hooks.secagree.grammar import shorten
from sip_hooks.secagree.starting import host_of


def sip_domains(certificate: Mapping[str, Any]) -> FrozenSet[str]:
    """Return the SIP domains that a certificate names, in lower case (RFC 5922 7.1).

    ``certificate`` is in the form of :meth:`ssl.SSLSocket.getpeercert`. The common name counts
    only where there is no subjectAltName at all.
    """
    alternatives = certificate.get("subjectAltName", ())
    found = _alternatives(alternatives) if alternatives else _common_names(certificate)
    return frozenset(name.lower() for name in found if name)


def find_domain_fault(certificate: Mapping[str, Any], domain: str) -> Optional[str]:
    """Return why a certificate is none of a domain's, or None if it is (RFC 5922 7.2).

    Names are compared whole and without regard to case: no suffix and no wildcard matches.
    """
    domains = sip_domains(certificate)
    if domain.lower() in domains and "*" not in domain:
        return None
    named = ", ".join(sorted(domains)) or "no SIP domain"
    return f"the certificate names {shorten(named)}, not {shorten(domain)}"


def _alternatives(alternatives: Any) -> Iterator[str]:
    for kind, value in alternatives:
        if kind == "DNS":
            yield value
        elif kind == "URI" and value.partition(":")[0].lower() == "sip" and "@" not in value:
            yield host_of(value)  # with a user part it is an address, not a domain


def _common_names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for row in certificate.get("subject", ()):
        for kind, value in row:
            if kind == "commonName":
                yield value
