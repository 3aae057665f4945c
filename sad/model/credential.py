"""The credential set of an endpoint: what is wanted, what was found, what is handed out.

A set is a certificate with its chain, the private key, and the trust anchors (CA). Values only;
:mod:`sad.credentials` reads, judges and keeps. No value here holds key material.
"""

import enum
from dataclasses import dataclass


class TlsVersion(enum.StrEnum):
    """What may be spoken at least: RFC 8996 leaves nothing older (UPD-8996)."""

    TLS12 = "1.2"
    TLS13 = "1.3"


class ClientAuthentication(enum.StrEnum):
    """Whether the SIP server asks user agents for a certificate of theirs."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Part(enum.StrEnum):
    """Which setting a finding is about: it stands under this name in ``[endpoint.tls]``."""

    CERTIFICATE = "certificate"
    KEY = "key"
    CA = "ca"
    CIPHERS = "ciphers"
    WRITE_FILES = "write_files"
    RELOAD_COMMAND = "reload_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong, or soon wrong, with a set. ``reason`` is a stable word, ``rule`` a clause.

    ``hint`` is the way out. Nothing of a private key stands in any of them.
    """

    part: Part
    reason: str
    text: str
    rule: str
    hint: str

    def __str__(self) -> str:
        return f"{self.part}: {self.text} ({self.reason}, {self.rule})"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCredential:
    """What the settings say of an endpoint's set.

    ``certificate``, ``key`` and ``ca`` are absolute paths, or names of systemd credentials.
    ``readers`` are the uids, ``group`` the gid, that may read the key file that is written.
    """

    endpoint: str
    certificate: str
    key: str
    ca: str
    domains: tuple[str, ...]
    minimum_version: TlsVersion = TlsVersion.TLS12
    ciphers: tuple[str, ...] = ()
    client_authentication: ClientAuthentication = ClientAuthentication.NONE
    write_files: bool = True
    reload_command: tuple[str, ...] = ()
    readers: frozenset[int] = frozenset()
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRules:
    """What holds for the sets of all endpoints."""

    directory: str
    warning_days: int = 30
    command_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What a certificate says; instants are seconds of the real-time clock since 1970.

    ``names`` are its SIP domains (RFC 5922 7.1), ``alternative_names`` all of subjectAltName.
    ``valid_until`` is the first end of a certificate of the chain, ``ends_first`` whose it is.
    """

    subject: str
    issuer: str
    serial: str
    names: tuple[str, ...]
    alternative_names: tuple[str, ...]
    algorithm: str
    not_before: float
    not_after: float
    valid_until: float
    ends_first: str


class CredentialState(enum.StrEnum):
    """How an endpoint's set stands."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    MISSING = "missing"
    """None was ever good since the daemon started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialView:
    """An endpoint's set as operators see it.

    ``refusals`` say why what lies in the files now is not used, ``warnings`` what is soon wrong
    or went wrong beside (the reload command).
    """

    endpoint: str
    state: CredentialState
    generation: str
    loaded_at: float
    facts: CertificateFacts | None
    minimum_version: TlsVersion
    ciphers: tuple[str, ...]
    client_authentication: ClientAuthentication
    refusals: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """A set for software that makes its own TLS context.

    ``descriptors`` are certificate, key and trust anchors, open for reading and the receiver's to
    close; empty if the caller has this generation already.
    """

    generation: str
    names: tuple[str, ...]
    minimum_version: TlsVersion
    ciphers: tuple[str, ...]
    client_authentication: ClientAuthentication
    descriptors: tuple[int, ...]
