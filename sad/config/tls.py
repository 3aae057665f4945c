"""The settings of an endpoint's TLS credential set: its ``[endpoint.tls]`` table.

:func:`sad.config.resolve.to_credentials` turns them into
:class:`sad.model.credential.WantedCredential`; what the files hold is judged by
:mod:`sad.credentials`.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sad.config.problems import BrokenRule, raise_broken, refused
from sad.config.values import AbsolutePath, Account, Count, split_text
from sad.model.credential import ClientAuthentication, TlsVersion
from sad.model.tls_ciphers import DEFAULT_CIPHERS, fault_of

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_OLD_VERSIONS: Final = frozenset({"1.0", "1.1", "1", "3.0", "ssl3", "tlsv1", "tlsv1.1"})


def _check_source(value: str) -> str:
    if value.startswith("/") and "\0" not in value:
        return value
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}", value) is None:
        raise refused(
            f'"{value}" is neither an absolute path nor the name of a systemd credential',
            "write it from the root: /etc/sad/tls/..., or the name of a LoadCredential=",
        )
    return value


Source = Annotated[str, AfterValidator(_check_source)]
"""A file: its path, or the name of a credential that systemd hands over."""


def _check_domain(value: str) -> str:
    domain = value.lower()
    if "*" in domain:  # RFC 5922 7.2
        raise refused(f'"{value}" is a wildcard', "list each domain: RFC 5922 7.2 knows none")
    if domain.startswith(("sip:", "sips:")):
        raise refused(f'"{value}" is a URI', f'write the domain: "{domain.partition(":")[2]}"')
    if len(domain) > 253 or re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", domain) is None:
        raise refused(f'"{value}" is no domain', 'write e.g. "sip.example.org" (IDNs as xn--...)')
    if re.fullmatch(r"[\d.]+", domain):
        raise refused(f'"{value}" is an address', "a certificate is of a domain (RFC 5922 7.1)")
    return domain


Domain = Annotated[str, AfterValidator(_check_domain)]
"""A SIP domain in lower case."""


def _parse_version(value: object) -> object:
    text = str(value).lower()
    if text in _OLD_VERSIONS:  # UPD-8996
        raise refused(f"TLS {value} must not be spoken (RFC 8996)", 'write "1.2" or "1.3"')
    return text


def _check_cipher(value: str) -> str:
    if (fault := fault_of(value)) is not None:
        raise refused(f"{value} {fault}", f"take those of {', '.join(DEFAULT_CIPHERS[:3])}, ...")
    return value


Cipher = Annotated[str, AfterValidator(_check_cipher)]
"""A cipher suite of TLS 1.2 by OpenSSL's name, one of those that were vetted."""


def _split_command(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(shlex.split(value))
    except ValueError:
        raise refused("a quote is not closed", "close it, or write a list of words") from None


def _check_command(value: tuple[str, ...]) -> tuple[str, ...]:
    if value and not value[0].startswith("/"):
        raise refused(f'"{value[0]}" is no absolute path', "write the program from the root")
    if any("\0" in word for word in value):
        raise refused("a word holds a NUL", "remove it")
    return value


Command = Annotated[
    tuple[str, ...], BeforeValidator(_split_command), AfterValidator(_check_command)
]
"""A program with its arguments; no shell."""


class TlsSettings(BaseModel):
    """The TLS credential set of an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Source = Field(
        description="Certificate and then that of each issuer but the root, PEM: a path, or the "
        "name of a credential that systemd hands over (LoadCredential)"
    )
    key: Source = Field(
        description="Private key of the certificate, PEM, not encrypted, as above; a file that "
        "only its owner, root or sad's user, may read (or setfacl -m u:sad:r), and no link"
    )
    ca: Source = Field(
        description="Trust anchors, PEM, as above: the root that the certificate leads to, and "
        "those of user agents' certificates"
    )
    domains: Annotated[tuple[Domain, ...], BeforeValidator(split_text)] = Field(
        min_length=1,
        description="SIP domains of which the certificate must be: subjectAltName URI:sip:DOMAIN, "
        "or DNS:DOMAIN if it has no sip: URI (RFC 5922; no wildcards)",
    )
    minimum_version: Annotated[TlsVersion, BeforeValidator(_parse_version)] = Field(
        default=TlsVersion.TLS12,
        description='Least version of TLS that is spoken: "1.2" or "1.3" (RFC 8996)',
    )
    ciphers: Annotated[tuple[Cipher, ...], BeforeValidator(split_text)] = Field(
        default=DEFAULT_CIPHERS,
        description="Cipher suites of TLS 1.2 by OpenSSL's names, the most preferred first; those "
        "of 1.3 are always on",
    )
    client_authentication: ClientAuthentication = Field(
        default=ClientAuthentication.NONE,
        description='Whether user agents are asked for a certificate: "none", "optional", '
        '"required"',
    )
    write_files: bool = Field(
        default=True,
        description="Write the set for the SIP server: credentials.directory/NAME/current/ holds "
        "certificate.pem, key.pem and ca.pem, readable by the endpoint's users, and is switched "
        "as one; false for software that asks for it over the socket",
    )
    group: Account | None = Field(
        default=None, description="Group that may read key.pem, too, e.g. of the SIP server"
    )
    reload_command: Command = Field(
        default=(),
        description="Program with its arguments that has the SIP server read a new set, run by "
        'sad\'s user, e.g. ["/usr/sbin/kamcmd", "tls.reload"]; none: []',
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        raise_broken(self._broken_rules())
        return self

    def _broken_rules(self) -> Iterator[BrokenRule]:
        for name in ("domains", "ciphers"):
            values = getattr(self, name)
            for index, value in enumerate(values):
                if value in values[:index]:
                    yield BrokenRule((name, index), f"{value} stands there twice", "remove one")
        if self.minimum_version is TlsVersion.TLS12 and not self.ciphers:
            yield BrokenRule(
                ("ciphers",),
                "no cipher suite for TLS 1.2",
                'remove the line for the default, or write minimum_version = "1.3"',
            )


class CredentialSettings(BaseModel):
    """What holds for the TLS credential sets of all endpoints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: AbsolutePath = Field(
        default="/run/sad-tls",
        description="Directory in which the sets are written for SIP servers; sad's user's alone "
        "to write",
    )
    warning_days: Count = Field(
        default=30,
        ge=1,
        le=3650,
        description="How long before its end status and log warn of a certificate",
    )
    command_seconds: Count = Field(
        default=10,
        ge=1,
        le=600,
        description="How long a reload_command may take before it is killed",
    )
