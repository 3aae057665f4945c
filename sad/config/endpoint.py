"""The settings of one endpoint: an ``[[endpoint]]`` table of the settings file.

:func:`sad.config.resolve.to_endpoints` turns them into :class:`sad.model.endpoint.Endpoint`.
"""

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sad.config.ike import EndpointIkeSettings
from sad.config.problems import BrokenRule, raise_broken
from sad.config.static_list import faults_of
from sad.config.tls import TlsSettings
from sad.config.values import (
    Account,
    Address,
    AlgorithmName,
    EndpointName,
    Network,
    Port,
    PortBlock,
    PortNumber,
    SpiRange,
    UdpPort,
    split_text,
)
from sad.model.algorithms import EXTENSIONS, WITHDRAWN
from sad.model.encapsulation import ENCAPSULATION_PORT
from sad.model.endpoint import Profile, Role
from sip_hooks.secagree.mechanism import IPSEC_3GPP, TLS

DEFAULT_ALGORITHMS: Final = ("hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null")


class EndpointSettings(BaseModel):
    """A local signalling address with its protected ports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: EndpointName = Field(description="Name by which callers name the endpoint")
    addresses: Annotated[tuple[Address, ...], BeforeValidator(split_text)] = Field(
        description="Local signalling address: one IPv4, one IPv6, or one of each"
    )
    server_port: Port = Field(
        description="Protected server port (port_ps; for role ue port_us), fixed for every user "
        "agent"
    )
    client_ports: PortBlock = Field(
        description="Protected client ports (port_pc; for role ue port_uc): an aligned block of "
        "2, 4 or 8; each new set of a registration takes another one"
    )
    users: Annotated[tuple[Account, ...], BeforeValidator(split_text)] = Field(
        min_length=1,
        description="Users (names or uids) that may use the endpoint: those of the SIP server",
    )
    roles: Annotated[tuple[Role, ...], BeforeValidator(split_text)] = Field(
        default=(Role.EDGE,),
        min_length=1,
        description='Sides of TS 33.203 that callers may play: "edge" (P-CSCF), "ue"',
    )
    algorithms: Annotated[tuple[AlgorithmName, ...], BeforeValidator(split_text)] = Field(
        default=DEFAULT_ALGORITHMS,
        min_length=1,
        description="Pairs alg/ealg by RFC 3329 name, the most preferred first. The strongest of "
        "TS 33.203 Annex H are null/aes-gcm and aes-gmac/null: four SAs then share one key and "
        "salt, so list them for user agents that use no IV twice in both of their SAs "
        "(docs/nonces.md)",
    )
    accept_withdrawn_algorithms: bool = Field(
        default=False,
        description="Allow hmac-md5-96 and des-ede3-cbc in algorithms: withdrawn by TS 33.203 "
        "Annex H, and RFC 8221 forbids MD5",
    )
    accept_extension_algorithms: bool = Field(
        default=False,
        description="Allow hmac-sha-256-128 in algorithms: of no 3GPP release, so only user "
        "agents that know it by this name offer it",
    )
    spi_range: SpiRange = Field(
        default=(65536, 2_147_483_647),
        description="Lowest and highest SPI that this node allocates, 256 or more",
    )
    accept_reserved_spi: bool = Field(
        default=False,
        description="Accept a peer's SPI of 1 to 255, which are IANA's (some networks send them)",
    )
    accept_sip_port: bool = Field(
        default=False,
        description="Accept 5060 or 5061 as a peer's protected port, against TS 33.203 7.1 (some "
        "phones offer it)",
    )
    identity_at_one_address: bool = Field(
        default=True,
        description="A private identity is one user agent: its registration from a new address "
        "ends the sets that it had at another (TS 33.203 7.5); false where several phones share "
        "one",
    )
    nat_traversal: bool = Field(
        default=False,
        description="Serve user agents behind a NAT by ESP in UDP (mod=UDP-enc-tun, TS 33.203 "
        "Annex M). A NAT is found where a REGISTER comes from another address than its Via names",
    )
    nat_port: UdpPort = Field(
        default=ENCAPSULATION_PORT, description="UDP port of encapsulated ESP, 4500 by RFC 3948"
    )
    nat_networks: Annotated[tuple[Network, ...], BeforeValidator(split_text)] = Field(
        default=(),
        description="Networks in which user agents may have their addresses behind NATs, e.g. "
        '["192.168.0.0/16", "10.0.0.0/8"]. Leave out every network that this node itself talks '
        "to: policies are made for the address that a user agent claims",
    )
    nat_socket: Literal["own", "shared"] = Field(
        default="own",
        description='Who takes ESP out of UDP at nat_port: "own", the daemon\'s socket (systemd: '
        'sad-encap.socket), which keeps NATs awake, too; "shared", that of an IKE daemon such as '
        "strongSwan that has the port already: user agents must then keep their NATs awake "
        "themselves",
    )
    takeover: Literal["manual", "automatic", "fixed"] = Field(
        default="manual",
        description='In a cluster, how another node gets the endpoint: "manual", by sadctl '
        'takeover, and its owner serves on whatever becomes of etcd; "automatic", when its owner '
        'has not renewed its lease; "fixed", never: its address is of this node alone',
    )
    profile: Profile = Field(
        default=Profile.IMS,
        description='How user agents get Security-Server: "ims" in the 401 of AKA (TS 24.229), '
        '"rfc3329" in the 494 or 421 (RFC 3329)',
    )
    security: Literal["required", "optional"] = Field(
        default="required",
        description='Whether a user agent that does not agree is refused; "optional", in profile '
        "rfc3329, serves those that do not ask for an agreement without one",
    )
    mechanisms: Annotated[tuple[str, ...], BeforeValidator(split_text)] = Field(
        default=(),
        description="The list of profile rfc3329 as in Security-Server, each mechanism with its "
        'own q, e.g. ["tls;q=0.3", "digest;q=0.2;d-alg=MD5;d-qop=auth"]; in profile ims what is '
        'taken of a list, the most preferred first: "ipsec-3gpp" (the default), "tls" (TS 33.203 '
        "Annex O, with SIP digest). tls is a connection that the SIP server terminates; it ends "
        "with its registration",
    )
    tls_port: PortNumber = Field(
        default=5061,
        description="Where the SIP server speaks TLS on the addresses, if tls is one of the "
        "mechanisms; no protected port: nothing blocks clear text there",
    )
    accept_unreplayed_verify: bool = Field(
        default=False,
        description="Allow ipsec-man in mechanisms: manually keyed SAs have no replay protection "
        "(RFC 4303 section 5), so a recorded request could be sent once more (RFC 3329 section 5)",
    )
    ike: EndpointIkeSettings | None = Field(
        default=None, description="Mechanism ipsec-ike: who this node is in IKE, and its peers"
    )

    tls: TlsSettings | None = Field(
        default=None,
        description="TLS credential set that sad keeps for the endpoint: a table",
    )

    @property
    def ports(self) -> frozenset[int]:
        """Every protected port of the endpoint."""
        return frozenset((self.server_port, *self.client_ports))

    @property
    def ims_mechanisms(self) -> tuple[str, ...]:
        """What profile ims takes, by RFC name."""
        return tuple(name.strip().lower() for name in self.mechanisms) or (IPSEC_3GPP,)

    @property
    def speaks_tls(self) -> bool:
        """Whether tls is one of the mechanisms."""
        return any(m.partition(";")[0].strip().lower() == TLS for m in self.mechanisms)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        raise_broken(self._broken_rules())
        return self

    def _broken_rules(self) -> Iterator[BrokenRule]:
        versions = [ipaddress.ip_address(address).version for address in self.addresses]
        if not versions or len(set(versions)) != len(versions):
            yield BrokenRule(
                ("addresses",),
                "an endpoint has one IPv4 address, one IPv6 address, or one of each",
                "write another [[endpoint]] for further addresses",
            )
        if self.server_port in self.client_ports:
            yield BrokenRule(
                ("server_port",),
                f"{self.server_port} is also a client port",
                "server port and client ports differ (TS 33.203 7.1)",
            )
        for name in ("users", "roles", "algorithms"):
            values = getattr(self, name)
            for index, value in enumerate(values):
                if value in values[:index]:
                    yield BrokenRule((name, index), f"{value} stands there twice", "remove one")
        if self.speaks_tls and self.tls_port in self.ports:
            yield BrokenRule(
                ("tls_port",),
                f"{self.tls_port} is also a protected port",
                "clear text to protected ports is dropped, and TLS is that to IPsec",
            )
        yield from self._broken_profile()
        yield from self._broken_nat()
        if not self.accept_withdrawn_algorithms:
            for index, pair in enumerate(self.algorithms):
                withdrawn = WITHDRAWN.intersection(pair.split("/"))
                if withdrawn:  # T33-H-b, IPS-6
                    yield BrokenRule(
                        ("algorithms", index),
                        f"{' and '.join(sorted(withdrawn))} is withdrawn (TS 33.203 Annex H)",
                        "remove the pair, or set accept_withdrawn_algorithms = true if phones "
                        "have nothing better",
                    )
        if not self.accept_extension_algorithms:
            for index, pair in enumerate(self.algorithms):
                extension = EXTENSIONS.intersection(pair.split("/"))
                if extension:  # T33-H-a
                    yield BrokenRule(
                        ("algorithms", index),
                        f"{' and '.join(sorted(extension))} is of no 3GPP release",
                        "remove the pair, or set accept_extension_algorithms = true if your user "
                        "agents know it by this name",
                    )

    def _broken_nat(self) -> Iterator[BrokenRule]:
        if self.nat_traversal and not self.nat_networks:
            yield BrokenRule(
                ("nat_networks",),
                "NAT traversal without networks that may be behind a NAT",
                'list them, e.g. ["192.168.0.0/16"], without those that this node talks to',
            )
        if self.nat_traversal and self.profile is not Profile.IMS:
            yield BrokenRule(  # T33-M-a
                ("nat_traversal",),
                "NAT traversal is ipsec-3gpp's, of profile ims",
                "remove it",
            )
        if self.nat_traversal and self.nat_port in self.ports:
            yield BrokenRule(
                ("nat_port",),
                f"{self.nat_port} is a protected port of the endpoint, too",
                "take another for one of the two",
            )

    def _broken_profile(self) -> Iterator[BrokenRule]:
        yield from self._broken_ike()
        if self.profile is Profile.IMS:
            yield from self._broken_ims()
            return
        faults = faults_of(self.mechanisms, accept_unreplayed_verify=self.accept_unreplayed_verify)
        for place, reason, hint in faults if self.mechanisms else ():
            at = ("mechanisms",) if place is None else ("mechanisms", place)
            yield BrokenRule(at, reason, hint)
        if not self.mechanisms:
            yield BrokenRule(
                ("mechanisms",),
                "profile rfc3329 has no mechanism to offer",
                'list at least one, e.g. ["digest;d-qop=auth"]',
            )

    def _broken_ims(self) -> Iterator[BrokenRule]:
        for place, name in enumerate(self.ims_mechanisms):
            if name not in (IPSEC_3GPP, TLS):
                yield BrokenRule(
                    ("mechanisms", place),
                    f"profile ims knows {IPSEC_3GPP} and {TLS} by their bare names",  # T33-S.3-a
                    f'write mechanisms = ["{IPSEC_3GPP}", "{TLS}"], or profile = "rfc3329"',
                )
            elif name in self.ims_mechanisms[:place]:
                yield BrokenRule(("mechanisms", place), f"{name} is listed twice", "remove one")
        if self.security != "required":
            yield BrokenRule(  # T33-7.1-p5, INTEROP-10
                ("security",),
                "profile ims serves nobody without protection",
                'write security = "required", or profile = "rfc3329"',
            )

    def _broken_ike(self) -> Iterator[BrokenRule]:
        listed = any(m.partition(";")[0].strip().lower() == "ipsec-ike" for m in self.mechanisms)
        if listed and self.ike is None:
            yield BrokenRule(
                ("mechanisms",),
                "ipsec-ike is listed, and there are no settings of IKE",
                "add [endpoint.ike] with identity and peers, or list it no more",
            )
        if self.ike is not None and not listed:
            yield BrokenRule(
                ("ike",),
                "there are settings of IKE, and ipsec-ike is not listed",
                'add e.g. "ipsec-ike;q=0.4" to mechanisms, or remove [endpoint.ike]',
            )
