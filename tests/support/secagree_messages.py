"""Requests and lists for the tests of both roles of RFC 3329."""

from typing import Final

from sip_hooks.secagree import (
    Assurances,
    Protection,
    Request,
    ServerDecision,
    read_server_list,
)

STRONG: Final = Assurances(digest_verify=True, digest_nonce_count=True, tls_version=(1, 2))

#: The list of the examples of RFC 3329 section 4, and the longest one of static members.
EXAMPLE: Final = read_server_list("ipsec-ike;q=0.1, tls;q=0.2", STRONG)
WHOLE: Final = read_server_list(
    "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;q=0.4, tls;q=0.3, ipsec-ike;q=0.2, "
    "digest;d-alg=MD5;d-qop=auth;q=0.1",
    STRONG,
)
FILLED: Final = WHOLE.fill(spi_pc=4096, spi_ps=4097, port_pc=5100, port_ps=6100)

VIA: Final = "Via: SIP/2.0/UDP ue.example.com;branch=z9hG4bK1"
DEMANDS: Final = ("Require: sec-agree", "Proxy-Require: sec-agree")


def request(
    method: str,
    *lines: str,
    protection: Protection = Protection.NONE,
    mechanism: str | None = None,
) -> Request:
    """Return a request with these header lines behind one Via."""
    fields = tuple(
        (name.strip(), value.strip())
        for name, _, value in (line.partition(":") for line in (VIA, *lines))
    )
    return Request(method, fields, protection, mechanism)


def over_tls(method: str, *lines: str) -> Request:
    """Return a request over TLS."""
    return request(method, *lines, protection=Protection.TLS)


def agreed(mechanism: str, method: str, *lines: str) -> Request:
    """Return a request that an agreed mechanism protects."""
    return request(method, *lines, protection=Protection.AGREED, mechanism=mechanism)


def header_of(decision: ServerDecision, name: str) -> list[str]:
    """Return the values of a header of the answer."""
    return [value for given, value in decision.headers if given == name]
