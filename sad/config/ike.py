"""The settings of ``ipsec-ike``: ``[ike]`` of the daemon, ``[endpoint.ike]`` of an endpoint.

Secrets are never in them: they name files, or credentials that systemd hands over.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sad.config.problems import BrokenRule, raise_broken, refused
from sad.config.values import AbsolutePath, Count, EndpointName, split_text
from sad.model.ike import CERTIFICATE, PSK, IkePeer, IkeProfile, IkeService

#: RFC 8247 and RFC 8221 (2.4-ipsec-a): what must or should not be used any more.
_WEAK: Final = re.compile(
    r"^(des.*|3des|blowfish.*|cast.*|idea.*|rc[245].*|null|md5.*|prfmd5|sha1.*|sha|prfsha1"
    r"|modp(768|1024|1536|1024s160|2048s224|2048s256)|default)$"
)
_AEAD: Final = re.compile(r"gcm|ccm|chacha20poly1305")
_INTEGRITY: Final = re.compile(r"^(sha(256|384|512)|aesxcbc|aescmac)")
_GROUP: Final = re.compile(r"^(modp\d+|ecp\d+(bp)?|(x|curve)25519|(x|curve)448)$")


def _check_proposal(value: str) -> str:
    parts = value.strip().lower().split("-")
    weak = [part for part in parts if _WEAK.match(part)]
    if weak:
        raise refused(
            f"{', '.join(weak)} is too weak (RFC 8221, RFC 8247)",
            'write e.g. "aes128gcm16-prfsha256-x25519" for IKE, "aes128gcm16" for ESP',
        )
    if not _AEAD.search(parts[0]) and not any(_INTEGRITY.match(part) for part in parts[1:]):
        raise refused(
            f'"{value}" has no integrity', 'add one, e.g. "aes256-sha256-x25519", or take gcm'
        )
    return "-".join(parts)


def _check_ike_proposal(value: str) -> str:
    proposal = _check_proposal(value)
    if not any(_GROUP.match(part) for part in proposal.split("-")):
        raise refused(f'"{value}" has no group', 'add one, e.g. "-x25519"')
    return proposal


def _check_source(value: str) -> str:
    if "\0" in value or not value or (not value.startswith("/") and "/" in value):
        raise refused(
            f'"{value}" is neither an absolute path nor the name of a credential',
            'write "/etc/sad/ike/alice", or a name of LoadCredential=',
        )
    return value


IkeProposal = Annotated[str, AfterValidator(_check_ike_proposal)]
EspProposal = Annotated[str, AfterValidator(_check_proposal)]
Source = Annotated[str, AfterValidator(_check_source)]
"""An absolute path, or the name of a credential."""
Seconds = Annotated[float, Field(gt=0, le=3600)]


class IkeSettings(BaseModel):
    """The strongSwan that mechanism ipsec-ike drives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket_path: AbsolutePath = Field(
        default="/run/charon.vici", description="Socket of charon's VICI plugin"
    )
    connect_timeout_seconds: Seconds = Field(
        default=2.0, description="How long strongSwan may take to accept a connection"
    )
    command_timeout_seconds: Seconds = Field(
        default=5.0, description="How long strongSwan may take to answer a command"
    )
    start_seconds: Seconds = Field(
        default=30.0,
        description="How long a peer may take for IKE, from the list that it was sent; then the "
        "agreement has failed",
    )
    terminate_seconds: Seconds = Field(
        default=1.0,
        description="How long a peer may take to answer a delete; then its IKE SA is ended "
        "without it",
    )
    check_interval_seconds: Seconds = Field(
        default=10.0, description="How often it is looked whether strongSwan still answers"
    )
    restart_seconds: Seconds = Field(
        default=5.0,
        description="How long associations wait for a strongSwan that has ended; then they end, "
        "and what it left in the kernel is removed",
    )

    def value(self) -> IkeService:
        """Return it as the daemon knows it."""
        return IkeService(
            socket_path=self.socket_path,
            connect=self.connect_timeout_seconds,
            command=self.command_timeout_seconds,
            start=self.start_seconds,
            terminate=self.terminate_seconds,
            check=self.check_interval_seconds,
            restart=self.restart_seconds,
        )


class IkePeerSettings(BaseModel):
    """A peer that may use mechanism ipsec-ike."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: EndpointName = Field(description="Name of the peer here and in strongSwan")
    identity: str = Field(
        min_length=1, max_length=255, description="Its IKE identity, as strongSwan writes it"
    )
    users: Annotated[tuple[str, ...], BeforeValidator(split_text)] = Field(
        min_length=1,
        description="The SIP users that it speaks for, as user@domain: the From of what it sends",
    )
    auth: Annotated[str, Field(pattern=r"^(psk|certificate|eap-[a-z0-9]+)$")] = Field(
        default=PSK,
        description='How it shows who it is: "psk", "certificate", or an EAP method that '
        'strongSwan has, e.g. "eap-mschapv2"',
    )
    secret: Source | None = Field(
        default=None,
        description="File, or name of a credential, with its secret (psk, eap); readable by its "
        "owner alone",
    )
    ports: tuple[Annotated[Count, Field(ge=1, le=65535)], ...] = Field(
        default=(),
        max_length=8,
        description="Ports of its SIP; without any, the port from which it asked",
    )

    def value(self) -> IkePeer:
        """Return it as the daemon knows it."""
        return IkePeer(
            name=self.name,
            identity=self.identity,
            users=frozenset(self.users),
            auth=self.auth,
            secret=self.secret,
            ports=self.ports,
        )


class EndpointIkeSettings(BaseModel):
    """Mechanism ipsec-ike on an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str = Field(
        min_length=1, max_length=255, description="IKE identity of this node, e.g. its domain name"
    )
    initiates: bool = Field(
        default=False,
        description="Begin IKE as soon as a peer asks, beside waiting for it",
    )
    certificate: Source | None = Field(
        default=None,
        description="File or credential with this node's certificate, for peers with certificates "
        "or EAP",
    )
    private_key: Source | None = Field(
        default=None,
        description="File or credential with its private key, readable by its owner alone",
    )
    authorities: Annotated[tuple[Source, ...], BeforeValidator(split_text)] = Field(
        default=(),
        description="Files or credentials with certificates of the authorities of peers",
    )
    ike_proposals: Annotated[tuple[IkeProposal, ...], BeforeValidator(split_text)] = Field(
        default=(
            "aes128gcm16-prfsha256-x25519",
            "aes256gcm16-prfsha384-ecp384",
            "aes256-sha256-modp3072",
        ),
        min_length=1,
        description="Proposals of IKE as strongSwan writes them, the most preferred first; weak "
        "ones are refused",
    )
    esp_proposals: Annotated[tuple[EspProposal, ...], BeforeValidator(split_text)] = Field(
        default=("aes128gcm16", "aes256gcm16", "aes256-sha256"),
        min_length=1,
        description="Proposals of ESP, likewise",
    )
    life_seconds: Count = Field(
        default=7200,
        ge=8,
        le=604_800,
        description="Longest life of a pair of SAs and its keys: sad has it rekeyed before, for "
        "as long as its association lasts. While sad is dead strongSwan makes a new one; what "
        "should have ended meanwhile ends when sad starts",
    )
    unregistered_seconds: Count = Field(
        default=3600,
        ge=1,
        le=604_800,
        description="How long an agreement stands without a registration",
    )
    dead_peer_seconds: Count = Field(
        default=30,
        ge=0,
        le=3600,
        description="Silence after which a peer is asked whether it is there; 0: never",
    )
    peer: tuple[IkePeerSettings, ...] = Field(default=(), description="Peers: who may use it")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        raise_broken(self._broken_rules())
        return self

    def _broken_rules(self) -> Iterator[BrokenRule]:
        names: set[str] = set()
        users: set[str] = set()
        for index, peer in enumerate(self.peer):
            if peer.name in names:
                yield BrokenRule(
                    ("peer", index, "name"), f'there is another peer "{peer.name}"', "rename one"
                )
            names.add(peer.name)
            for position, user in enumerate(peer.users):
                if user in users:
                    yield BrokenRule(
                        ("peer", index, "users", position),
                        f"{user} is another peer's",
                        "a user has one peer",
                    )
                users.add(user)
            if peer.auth != CERTIFICATE and peer.secret is None:
                yield BrokenRule(
                    ("peer", index, "secret"), f"{peer.auth} needs a secret", "name its file"
                )
            if peer.auth != PSK and (self.certificate is None or self.private_key is None):
                yield BrokenRule(
                    ("peer", index, "auth"),
                    f"{peer.auth} needs this node's certificate and private_key",
                    'name their files, or write auth = "psk"',
                )
            if peer.auth == CERTIFICATE and not self.authorities:
                yield BrokenRule(
                    ("peer", index, "auth"),
                    "certificate needs authorities that may issue it",
                    "name the files of their certificates",
                )

    def value(self) -> IkeProfile:
        """Return it as the daemon knows it."""
        return IkeProfile(
            identity=self.identity,
            initiates=self.initiates,
            certificate=self.certificate,
            private_key=self.private_key,
            authorities=self.authorities,
            ike_proposals=self.ike_proposals,
            esp_proposals=self.esp_proposals,
            life=self.life_seconds,
            unregistered=self.unregistered_seconds,
            dead_peer=self.dead_peer_seconds,
            peers=tuple(peer.value() for peer in self.peer),
        )
