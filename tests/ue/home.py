"""Subscribers of an invented home network, by number, for tests and the demonstration.

Pure. The counterpart of an HSS: what the UE has on its card and what the S-CSCF knows of it are
made from one number, so that neither has to be told.
"""

import hashlib
from typing import Any

from tests.ue.config import UeConfig
from tests.ue.flow import HostPort
from tests.ue.milenage import derive_opc
from tests.ue.registrar import Subscriber

DOMAIN = "ims.mnc001.mcc001.3gppnetwork.org"
_OP = bytes.fromhex("cdc202d5123e20f62b6d676ac72cb318")


def private_identity(number: int) -> str:
    return f"00101{number:010d}@{DOMAIN}"


def public_identity(number: int) -> str:
    return f"sip:00101{number:010d}@{DOMAIN}"


def subscriber(number: int) -> Subscriber:
    """The network's record of subscriber ``number``."""
    k = hashlib.sha256(f"subscriber {number}".encode()).digest()[:16]
    return Subscriber(
        private_identity=private_identity(number),
        public_identities=(public_identity(number),),
        k=k,
        opc=derive_opc(k, _OP),
    )


def ue_config(number: int, *, address: str, pcscf: HostPort, **settings: Any) -> UeConfig:
    """The settings of the UE that holds the card of subscriber ``number``."""
    record = subscriber(number)
    return UeConfig(
        private_identity=record.private_identity,
        public_identity=record.public_identities[0],
        domain=DOMAIN,
        k=record.k,
        opc=record.opc,
        address=address,
        pcscf=pcscf,
        **settings,
    )
