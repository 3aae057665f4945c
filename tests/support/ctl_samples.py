"""Replies as ``sadctl`` reads them: legal ones by default, anything by keyword."""

from typing import Any

from sad.ctl.shapes import Association, GetStatusOut, SaCounters

NOW = 1_700_000_065.0
"""Real-time seconds, 65 s after the samples were made."""

CREATED = 1_700_000_000_000_000
LONG_IMPI = "001010000000001@ims.mnc001.mcc001.3gppnetwork.org"
LONG_ADDRESS = "2001:db8:1111:2222:3333:4444:5555:6666"


def ipsec3gpp(**changes: Any) -> dict[str, Any]:
    """Parameters of one set."""
    return {
        "ueAddress": "10.10.0.2",
        "pcscfAddress": "10.10.0.1",
        "spiUc": 25656,
        "spiUs": 25657,
        "spiPc": 70001,
        "spiPs": 70002,
        "portUc": 6301,
        "portUs": 6300,
        "portPc": 5068,
        "portPs": 5064,
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "null",
    } | changes


def association(**changes: Any) -> Association:
    """An association in use that ends in 9 min 12 s."""
    values: Any = {
        "id": "f3a91c0b7e21",
        "endpoint": "access",
        "role": "edge",
        "mechanism": "ipsec-3gpp",
        "state": "inUse",
        "endReason": None,
        "registration": {
            "privateIdentity": "001010000000001@ims.example",
            "publicIdentities": ["sip:+15550001@ims.example", "tel:+15550001"],
        },
        "ipsec3gpp": ipsec3gpp(),
        "createdAt": CREATED,
        "confirmedAt": CREATED + 1_000_000,
        "expiresAt": CREATED + 617_000_000,
        "secondsLeft": 552,
        "note": None,
    } | changes
    sample: Association = values
    return sample


def counter(name: str = "SA1", direction: str = "in", **changes: Any) -> SaCounters:
    """Counters of an SA that has carried three packets."""
    values: Any = {
        "name": name,
        "direction": direction,
        "spi": {"SA1": 70002, "SA2": 25656, "SA3": 25657, "SA4": 70001}.get(name, 1),
        "bytes": 1500,
        "packets": 3,
        "replayFailures": 0,
        "integrityFailures": 0,
        "lastUsedAt": CREATED + 62_000_000,
    } | changes
    sample: SaCounters = values
    return sample


UNUSED: dict[str, Any] = {"bytes": 0, "packets": 0, "lastUsedAt": 0}


def status(**changes: Any) -> GetStatusOut:
    """A daemon with one endpoint."""
    values: Any = {
        "version": "0.1.0",
        "startedAt": CREATED - 7_200_000_000,
        "state": "ready",
        "endpoints": [
            {
                "name": "access",
                "profile": "ims",
                "required": True,
                "securityServer": "",
                "addresses": ["10.10.0.1", "2001:db8:1::1"],
                "serverPort": 5064,
                "clientPorts": [5068, 5069, 5070, 5071],
                "algorithms": ["hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null"],
                "unavailable": [],
                "associations": 12,
            }
        ],
        "associations": [
            {"mechanism": "ipsec-3gpp", "state": "temporary", "count": 1},
            {"mechanism": "ipsec-3gpp", "state": "established", "count": 0},
            {"mechanism": "ipsec-3gpp", "state": "inUse", "count": 11},
        ],
        "pools": [
            {"name": "associations", "endpoint": None, "used": 12, "size": 200_000},
            {"name": "SPIs", "endpoint": "access", "used": 24, "size": 1000},
        ],
        "kernelCounters": [],
        "notices": [],
        "lastReconcile": None,
        "lastProblem": None,
        "lastProblemAt": None,
        "lastProblemHint": None,
        "endsConnections": True,
        "cluster": None,
    } | changes
    sample: GetStatusOut = values
    return sample
