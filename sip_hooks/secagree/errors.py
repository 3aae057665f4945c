"""What can be wrong with an agreement, as types: whose fault, where, by which rule.

Local faults are ours (a setting, a value that cannot be printed) and never reach the peer; remote
faults carry the status a SIP server may answer with. Texts quote the peer's bytes only in a short
printable form, so they are fit for a log.
"""

from __future__ import annotations

from enum import Enum
from typing import Optional


class RefusalReason(str, Enum):
    """Why a mechanism of the peer's list is not used; the value is stable and fit for an API."""

    UNKNOWN_MECHANISM = "unknown-mechanism"
    MECHANISM_NOT_LISTED = "mechanism-not-listed"
    MEDIA_PLANE = "media-plane"
    DUPLICATE_PARAMETER = "duplicate-parameter"
    MALFORMED_PARAMETER = "malformed-parameter"
    ALGORITHM_MISSING = "algorithm-missing"
    PROTOCOL_NOT_SUPPORTED = "protocol-not-supported"
    MODE_NOT_SUPPORTED = "mode-not-supported"
    ILLEGAL_ALGORITHM_PAIR = "illegal-algorithm-pair"
    WITHDRAWN_ALGORITHM = "withdrawn-algorithm"
    ALGORITHM_NOT_LISTED = "algorithm-not-listed"
    SPI_MISSING = "spi-missing"
    SPI_OUT_OF_RANGE = "spi-out-of-range"
    RESERVED_SPI = "reserved-spi"
    EQUAL_SPIS = "equal-spis"
    PORT_MISSING = "port-missing"
    PORT_OUT_OF_RANGE = "port-out-of-range"
    SIP_PORT = "sip-port"
    EQUAL_PORTS = "equal-ports"
    LOWER_PREFERENCE = "lower-preference"
    INFORMATION_MISSING = "information-missing"
    D_VER_NOT_POSSIBLE = "d-ver-not-possible"
    REPEATED_SPI = "repeated-spi"


class AgreementError(Exception):
    """Anything this package raises on purpose."""


class LocalAgreementError(AgreementError):
    """Our own fault: a value given to this package breaks a rule. ``hint`` is the way out."""

    def __init__(self, reason: str, rule: Optional[str], hint: str) -> None:
        self.reason = reason
        self.rule = rule
        self.hint = hint
        super().__init__(reason, rule, hint)

    def __str__(self) -> str:
        rule = f" [{self.rule}]" if self.rule else ""
        return f"{self.reason}{rule}; {self.hint}"


class UnprintableError(LocalAgreementError):
    """A mechanism built by hand has no form in the grammar of RFC 3329 section 2.2."""


class PolicyError(LocalAgreementError):
    """A server's settings cannot be kept: refuse to start with them."""


class RemoteAgreementError(AgreementError):
    """The peer's fault. ``status_hint`` is the SIP status a server may answer with."""

    status_hint = 400


class HeaderError(RemoteAgreementError):
    """A header field breaks the syntax, so none of its values can be trusted.

    ``row`` counts the header's rows from 0, ``position`` is the offset in characters inside that
    row. ``rule`` names the clause; it is None where a local limit was exceeded.
    """

    def __init__(self, position: int, reason: str, rule: Optional[str], *, row: int = 0) -> None:
        self.position = position
        self.reason = reason
        self.rule = rule
        self.row = row
        super().__init__(position, reason, rule)

    def __str__(self) -> str:
        rule = f" [{self.rule}]" if self.rule else ""
        return f"row {self.row}, position {self.position}: {self.reason}{rule}"


class ParameterError(RemoteAgreementError):
    """One mechanism's parameters break a rule; the other mechanisms of the list still count."""

    def __init__(self, parameter: str, reason: RefusalReason, text: str, rule: str) -> None:
        self.parameter = parameter
        self.reason = reason
        self.text = text
        self.rule = rule
        super().__init__(parameter, reason, text, rule)

    def __str__(self) -> str:
        return f"{self.text} [{self.rule}]"
