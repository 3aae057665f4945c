"""Key sets and their associations as values, for tests of what is decided about them."""

from typing import Any

from msgspec import structs

from netlink.model import SaKeys
from netlink.secret import Secret
from sad.core.pair_decision import pair_of
from sad.model.association import Association, AssociationState, Phase
from sad.model.endpoint import Role
from sad.model.key_set import KeySet
from sad.model.sa_pair import Activation
from tests.support.key_files import DAY, NOW

#: CLOCK_BOOTTIME at NOW.
BOOTTIME = 1000.0


def keys(number: int = 1) -> SaKeys:
    """Keys of hmac-sha-256-128 and aes-cbc-128."""
    return SaKeys(
        integrity=Secret(bytes(range(number, number + 32))),
        encryption=Secret(bytes(range(100 + number, 116 + number))),
    )


def key_set(name: str = "old", number: int = 1, **changes: Any) -> KeySet:
    """A set that is valid from a day ago to a day ahead of NOW."""
    values: dict[str, Any] = {
        "origin": f"/etc/sad/keys.d/a.toml:{number}",
        "name": name,
        "endpoint": "peering",
        "role": Role.EDGE,
        "identity": "10.10.0.2",
        "names_identity": False,
        "local_address": "10.10.0.1",
        "peer_address": "10.10.0.2",
        "spi_in": 4096 + number,
        "spi_out": 8192 + number,
        "local_ports": (5064,),
        "peer_ports": (5064,),
        "integrity_algorithm": "hmac-sha-256-128",
        "encryption_algorithm": "aes-cbc-128",
        "keys_in": keys(number),
        "keys_out": keys(number + 50),
        "not_before": NOW - DAY,
        "not_after": NOW + DAY,
        "activation": Activation.ALWAYS,
    }
    return KeySet(**(values | changes))


def successor(**changes: Any) -> KeySet:
    """One that follows it from NOW on."""
    values: dict[str, Any] = {"not_before": NOW, "not_after": NOW + 3 * DAY}
    return key_set("new", 2, **(values | changes))


def association_of(
    given: KeySet, state: AssociationState = AssociationState.IN_USE, **changes: Any
) -> Association:
    """Its association in force, which ends with it."""
    number = given.spi_in & 0xFF
    made = Association(
        id=f"{number:012x}",
        endpoint=given.endpoint,
        private_identity=given.identity,
        public_identities=(),
        mechanism="ipsec-man",
        state=state,
        phase=Phase.INSTALLED,
        ipsec_man=pair_of(given),
        reqid_in=0x2000_0001,
        reqid_out=(0x2000_0001 + number,),
        created_at=NOW - DAY + number,
        confirmed_at=NOW - DAY,
        deadline_at=BOOTTIME + given.not_after - NOW,
        policies_until=float(1 << 40),
    )
    return structs.replace(made, **changes)
