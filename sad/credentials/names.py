"""Whose certificate it is, by RFC 5922 (TLS-1). Pure.

A sip: URI in subjectAltName names the domain; a DNS name does only where there is no such URI. A
URI with a user part is a person, sips: is no identity, and no wildcard matches anything. The
common name of the subject is not looked at: peers look there, if at all, only where
subjectAltName is missing, and that is refused.

The counterpart for peers' certificates is :mod:`sip_hooks.secagree.certificate`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509

from sad.credentials.reasons import finding
from sad.model.credential import Finding, Part


class Names(NamedTuple):
    """What subjectAltName says, all in lower case; the domains in the order of the certificate."""

    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    wildcards: tuple[str, ...] = ()
    sips: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    """Domains of URIs with a user part."""

    @property
    def identities(self) -> tuple[str, ...]:
        """The SIP domains that the certificate is of (RFC 5922 7.1)."""
        return self.uris or self.dns


def names_of(alternatives: x509.SubjectAlternativeName | None) -> Names:
    """Sort the names of a certificate."""
    found: dict[str, list[str]] = {name: [] for name in Names._fields}
    for name in alternatives or ():
        if isinstance(name, x509.DNSName):
            kind = "wildcards" if "*" in name.value else "dns"
            found[kind].append(name.value.lower())
        elif isinstance(name, x509.UniformResourceIdentifier):
            scheme, _, rest = name.value.partition(":")
            _, at, host = rest.rpartition("@")
            domain = _host_of(host)
            if scheme.lower() == "sips":
                found["sips"].append(domain)
            elif scheme.lower() == "sip" and at:
                found["users"].append(domain)
            elif scheme.lower() == "sip" and domain:
                found["wildcards" if "*" in domain else "uris"].append(domain)
    return Names(**{kind: tuple(values) for kind, values in found.items()})


def find_name_faults(
    names: Names, alternatives: x509.SubjectAlternativeName | None, domains: Sequence[str]
) -> list[Finding]:
    """Say for each domain that the endpoint must be of why the certificate is not of it."""
    if alternatives is None:
        text = "there is no subjectAltName, and a common name alone is no identity"
        return [finding("no-alternative-name", Part.CERTIFICATE, text)]
    faults = [_fault_of(names, domain.lower()) for domain in domains if not _is_of(names, domain)]
    if not names.identities and not faults:
        text = "subjectAltName names no SIP domain"
        faults.append(finding("no-sip-identity", Part.CERTIFICATE, text))
    return faults


def _is_of(names: Names, domain: str) -> bool:
    return domain.lower() in names.identities  # whole, without regard to case: RFC 5922 7.2


def _fault_of(names: Names, domain: str) -> Finding:
    parent = f"*.{domain.partition('.')[2]}"
    if names.uris and domain in names.dns:
        shown = ", ".join(names.uris)
        reason, text = "dns-beside-uri", f"{domain} stands as DNS, but sip:{shown} counts alone"
    elif parent in names.wildcards:
        reason, text = "wildcard", f"{parent} does not stand for {domain}"
    elif domain in names.sips:
        reason, text = "sips-uri", f"sips:{domain} is no identity of a domain"
    elif domain in names.users:
        reason, text = "uri-with-user", f"a URI with a user part before @{domain} is a person's"
    elif not names.identities:
        reason, text = "no-sip-identity", f"subjectAltName names no SIP domain, {domain} is wanted"
    else:
        shown = ", ".join(names.identities)
        reason, text = "domain-mismatch", f"it is of {shown}, not of {domain}"
    return finding(reason, Part.CERTIFICATE, text)


def _host_of(rest: str) -> str:
    """Return the host of what follows ``sip:`` or the user part, empty if it is no domain."""
    host = rest.partition(";")[0].partition("?")[0]
    return host.lower() if host.startswith("[") else host.partition(":")[0].lower()
