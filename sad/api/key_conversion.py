"""Key sets between the wire's shapes and the daemon's values: a part of the conversion. Pure.

Whether a set is good is a decision (:mod:`sad.core.key_judgement`). No error repeats a value.
"""

import re
from typing import Final

from netlink.secret import Secret
from sad.api import key_messages as messages
from sad.api.conversion import canonical_address
from sad.api.instants import microseconds
from sad.model.endpoint import Role
from sad.model.errors import BadParameter
from sad.model.key_requests import HeldKey, KeyList, RotateKeyRequest
from sad.model.key_set import GivenKeys, KeySetDraft
from sad.model.sa_pair import Activation

_ORIGIN: Final = "Control"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_LIKE_A_KEY: Final = re.compile(r"[0-9A-Fa-f]{32,}")


def key_set_draft(message: messages.AddKeyIn) -> KeySetDraft:
    """Raises :class:`BadParameter`."""
    local, peer = message.local_address, message.peer_address
    return KeySetDraft(
        origin=_ORIGIN,
        name=_name(message.name, "name"),
        endpoint=message.endpoint,
        role=message.role or Role.EDGE,
        identity=None if message.identity is None else _identity(message.identity),
        local_address=None if local is None else canonical_address(local, "localAddress"),
        peer_address=None if peer is None else canonical_address(peer, "peerAddress"),
        spi_in=message.spi_in,
        spi_out=message.spi_out,
        local_ports=message.local_ports,
        peer_ports=message.peer_ports,
        integrity_algorithm=message.integrity_algorithm,
        encryption_algorithm=message.encryption_algorithm,
        not_before=message.not_before / 1_000_000,
        not_after=message.not_after / 1_000_000,
        activation=message.activation or Activation.ALWAYS,
        lasting=False,
        keys=_keys(message.keys),
    )


def rotate_request(message: messages.RotateKeyIn) -> RotateKeyRequest:
    """Raises :class:`BadParameter`."""
    return RotateKeyRequest(
        name=message.name,
        new_name=_name(message.new_name, "newName"),
        spi_in=message.spi_in,
        spi_out=message.spi_out,
        not_before=None if message.not_before is None else message.not_before / 1_000_000,
        not_after=message.not_after / 1_000_000,
        keys=_keys(message.keys),
    )


def key(held: HeldKey) -> messages.Key:
    """Show one key set; it has keys, and none of them is shown."""
    s = held.key_set
    return messages.Key(
        name=s.name,
        origin=s.origin,
        state=held.state,
        association=held.association_id,
        endpoint=s.endpoint,
        role=s.role,
        identity=s.identity,
        local_address=s.local_address,
        peer_address=s.peer_address,
        spi_in=s.spi_in,
        spi_out=s.spi_out,
        local_ports=s.local_ports,
        peer_ports=s.peer_ports,
        integrity_algorithm=s.integrity_algorithm,
        encryption_algorithm=s.encryption_algorithm,
        not_before=microseconds(s.not_before),
        not_after=microseconds(s.not_after),
        activation=s.activation,
    )


def key_list(found: KeyList) -> messages.ListKeysOut:
    """Show all of it."""
    return messages.ListKeysOut(
        keys=tuple(key(held) for held in found.keys),
        problems=tuple(
            messages.KeyProblem(origin=p.origin, key=p.key, reason=p.reason, hint=p.hint)
            for p in found.problems
        ),
    )


def _name(text: str, parameter: str) -> str:
    if _NAME.fullmatch(text) is None or _LIKE_A_KEY.fullmatch(text):
        raise BadParameter(
            parameter=parameter,
            reason="no name of a key set",
            rule=None,
            hint="take up to 64 letters, digits and inner points, hyphens and underscores",
        )
    return text


def _identity(text: str) -> str:
    if not text or _LIKE_A_KEY.fullmatch(text):
        raise BadParameter(
            parameter="identity",
            reason="no identity",
            rule=None,
            hint="give the private identity of the peer, or leave it out",
        )
    return text


def _keys(material: messages.KeyMaterial) -> GivenKeys:
    return GivenKeys(
        integrity_key=_key(material.integrity_key, "integrityKey"),
        integrity_key_in=_key(material.integrity_key_in, "integrityKeyIn"),
        integrity_key_out=_key(material.integrity_key_out, "integrityKeyOut"),
        encryption_key=_key(material.encryption_key, "encryptionKey"),
        encryption_key_in=_key(material.encryption_key_in, "encryptionKeyIn"),
        encryption_key_out=_key(material.encryption_key_out, "encryptionKeyOut"),
    )


def _key(digits: str | None, parameter: str) -> Secret | None:
    if digits is None:
        return None
    if len(digits) % 2 or re.fullmatch(r"[0-9A-Fa-f]*", digits) is None:
        raise BadParameter(
            parameter=f"keys.{parameter}",
            reason="not hex digits",
            rule=None,
            hint="give two hex digits for each byte, without 0x and without separators",
        )
    return Secret(bytes.fromhex(digits))
