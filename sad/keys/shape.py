"""The shape of a ``[[key_set]]`` table: of the right types, and not yet judged.

:mod:`sad.core.key_judgement` judges. The descriptions are the documentation of the file.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from netlink.secret import Secret
from sad.config.problems import refused
from sad.config.values import Address, Count, EndpointName, PeerAddress, PortList
from sad.model.endpoint import Role
from sad.model.key_set import GivenKeys, KeySetDraft
from sad.model.sa_pair import Activation

_HEX_HINT: Final = "write it as text of hex digits, without 0x and without separators"


def _parse_key(value: object) -> Secret:
    if not isinstance(value, str):
        raise refused("a key is text", _HEX_HINT)
    if re.fullmatch(r"[0-9A-Fa-f]*", value) is None:
        raise refused("not hex digits", _HEX_HINT)
    if len(value) % 2:
        raise refused("an odd number of hex digits", "a byte has two: one was lost or doubled")
    return Secret(bytes.fromhex(value))


HexSecret = Annotated[Secret, BeforeValidator(_parse_key)]
"""Key material in hex digits; it never prints."""


def _parse_instant(value: object) -> float:
    hint = "write date, time and zone without quotes, e.g. 2027-01-01T00:00:00Z"
    if not isinstance(value, dt.datetime):
        raise refused("no date with a time", hint)
    if value.tzinfo is None:
        raise refused("a time without its zone means another instant elsewhere", hint)
    return value.timestamp()


Instant = Annotated[float, BeforeValidator(_parse_instant)]
"""An instant of the real-time clock, in seconds."""


def _check_name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", value) is None:
        raise refused(
            "this is no name of a key set",
            "take up to 64 letters, digits and inner points, hyphens and underscores",
        )
    return _not_a_key(value)


def _check_identity(value: str) -> str:
    if not 1 <= len(value) <= 256 or not value.isprintable():
        raise refused("this is no identity", "write up to 256 printable characters")
    return _not_a_key(value)


def _not_a_key(value: str) -> str:
    """Refuse what would be shown everywhere, and looks like what must be shown nowhere."""
    if re.fullmatch(r"[0-9A-Fa-f]{32,}", value):
        raise refused("this looks like a key", "has it slipped into the wrong line?")
    return value


class KeySetSettings(BaseModel):
    """What two administrators agreed on for one peer."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    name: Annotated[str, AfterValidator(_check_name)] = Field(
        description="Name of the set, in the logs and for sadctl key"
    )
    endpoint: EndpointName = Field(description="Endpoint whose ports it protects")
    role: Role = Field(default=Role.EDGE, description='"edge", or "ue" if this node is the client')
    identity: Annotated[str, AfterValidator(_check_identity)] | None = Field(
        default=None,
        description="Private identity of the peer: who agrees on ipsec-man must bear it; without "
        "it the address alone tells who the peer is",
    )
    local_address: Address | None = Field(
        default=None,
        description="This node's end; without it the endpoint's of the peer's IP version",
    )
    peer_address: PeerAddress | None = Field(
        default=None,
        description="The peer's end; without it the address from which its identity agrees, which "
        'takes activation = "agreement"',
    )
    spi_in: Count = Field(description="SPI of what the peer sends")
    spi_out: Count = Field(description="SPI of what this node sends")
    local_ports: PortList = Field(description="Ports of the endpoint that it protects")
    peer_ports: PortList = Field(description="The peer's ports")
    integrity: str = Field(description='"hmac-sha-256-128" or "hmac-sha-1-96"', max_length=64)
    encryption: str = Field(description='"aes-cbc-256", "aes-cbc-128" or "null"', max_length=64)
    integrity_key: HexSecret | None = Field(
        default=None, description="Integrity key of both directions, in hex digits"
    )
    integrity_key_in: HexSecret | None = Field(
        default=None, description="Integrity key of what the peer sends"
    )
    integrity_key_out: HexSecret | None = Field(
        default=None, description="Integrity key of what this node sends"
    )
    encryption_key: HexSecret | None = Field(
        default=None, description="Encryption key of both directions, in hex digits"
    )
    encryption_key_in: HexSecret | None = Field(
        default=None, description="Encryption key of what the peer sends"
    )
    encryption_key_out: HexSecret | None = Field(
        default=None, description="Encryption key of what this node sends"
    )
    not_before: Instant = Field(description="Valid from then on, e.g. 2027-01-01T00:00:00Z")
    not_after: Instant = Field(description="Valid until then: at this instant the SAs go")
    activation: Activation = Field(
        default=Activation.ALWAYS,
        description='"always": the SAs stand while the set is valid; "agreement": once the peer '
        "has agreed on ipsec-man",
    )


def draft_of(table: Mapping[str, Any], origin: str) -> KeySetDraft:
    """Return the draft that a table says. Raises pydantic's ValidationError."""
    given = KeySetSettings.model_validate(table)
    return KeySetDraft(
        origin=origin,
        name=given.name,
        endpoint=given.endpoint,
        role=given.role,
        identity=given.identity,
        local_address=given.local_address,
        peer_address=given.peer_address,
        spi_in=given.spi_in,
        spi_out=given.spi_out,
        local_ports=given.local_ports,
        peer_ports=given.peer_ports,
        integrity_algorithm=given.integrity,
        encryption_algorithm=given.encryption,
        keys=GivenKeys(
            integrity_key=given.integrity_key,
            integrity_key_in=given.integrity_key_in,
            integrity_key_out=given.integrity_key_out,
            encryption_key=given.encryption_key,
            encryption_key_in=given.encryption_key_in,
            encryption_key_out=given.encryption_key_out,
        ),
        not_before=given.not_before,
        not_after=given.not_after,
        activation=given.activation,
    )
