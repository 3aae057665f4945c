"""Key files for tests: good ones, and each field changed or left out."""

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

from sad.keys.load import LoadedKeys, load_keys
from sad.model.endpoint import Endpoint, Profile, Role
from tests.support.make import endpoint

#: 32 bytes for hmac-sha-256-128, 16 for aes-cbc-128, and those of a set that follows.
INTEGRITY_KEY = bytes(range(0x41, 0x61)).hex()
ENCRYPTION_KEY = bytes(range(0xA0, 0xB0)).hex()
NEXT_INTEGRITY_KEY = bytes(range(0x61, 0x81)).hex()
NEXT_ENCRYPTION_KEY = bytes(range(0xC0, 0xD0)).hex()

#: 2026-12-01, in whose midst the sets of the tests are valid.
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp()
DAY = 86_400.0


class Bare(str):
    """Text that goes into TOML as it is."""

    __slots__ = ()


def instant(seconds: float) -> Bare:
    """An instant as TOML writes it, to the microsecond."""
    return Bare(dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat(timespec="microseconds"))


def key_set(**changes: Any) -> dict[str, Any]:
    """The fields of a good set; ``None`` leaves one out."""
    values: dict[str, Any] = {
        "name": "old",
        "endpoint": "peering",
        "peer_address": "10.10.0.2",
        "spi_in": 4097,
        "spi_out": 8193,
        "local_ports": [5064],
        "peer_ports": [5064],
        "integrity": "hmac-sha-256-128",
        "encryption": "aes-cbc-128",
        "integrity_key": INTEGRITY_KEY,
        "encryption_key": ENCRYPTION_KEY,
        "not_before": instant(NOW - DAY),
        "not_after": instant(NOW + DAY),
    }
    return {k: v for k, v in (values | changes).items() if v is not None}


def successor(**changes: Any) -> dict[str, Any]:
    """A set that follows the one of :func:`key_set`, and overlaps it."""
    values = {
        "name": "new",
        "spi_in": 4098,
        "spi_out": 8194,
        "integrity_key": NEXT_INTEGRITY_KEY,
        "encryption_key": NEXT_ENCRYPTION_KEY,
        "not_before": instant(NOW),
        "not_after": instant(NOW + 3 * DAY),
    }
    return key_set(**(values | changes))


def toml(*sets: dict[str, Any]) -> str:
    """The text of a key file; its line 1 is a comment, line 2 the first table."""
    parts = ["# keys\n"]
    for fields in sets:
        parts.append("[[key_set]]\n")
        parts += [
            f"{k} = {v if isinstance(v, Bare) else json.dumps(v)}\n" for k, v in fields.items()
        ]
    return "".join(parts)


def line_of(field: str, *sets: dict[str, Any]) -> int:
    """The line on which a field of the last of ``sets`` stands in :func:`toml`."""
    rows = toml(*sets).splitlines()
    return max(n for n, row in enumerate(rows, start=1) if row.startswith(f"{field} = "))


def write(path: Path, *sets: dict[str, Any], mode: int = 0o600) -> Path:
    """Write a key file as an administrator should."""
    path.write_text(toml(*sets))
    path.chmod(mode)
    return path


PEERING = endpoint(
    name="peering",
    addresses=("10.10.0.1",),
    roles=frozenset({Role.EDGE}),
    profile=Profile.RFC3329,
    mechanisms=frozenset({"ipsec-man", "digest"}),
)
ENDPOINTS = {
    "peering": PEERING,
    "access": endpoint(addresses=("10.10.0.1",), spi_range=(100_000, 200_000)),
}


def load(folder: Path, endpoints: dict[str, Endpoint] | None = None) -> LoadedKeys:
    """Read the key files of a folder at NOW."""
    return load_keys(str(folder), {}, endpoints or ENDPOINTS, now=NOW)


def assert_no_key(text: str) -> None:
    """Look for the beginnings of the keys in a text, as bytes, hex and base64."""
    for digits in (INTEGRITY_KEY, ENCRYPTION_KEY, NEXT_INTEGRITY_KEY, NEXT_ENCRYPTION_KEY):
        key = bytes.fromhex(digits)
        for form in (digits[:16], digits[:16].upper(), base64.b64encode(key).decode()[:12]):
            assert form not in text
        assert key[:8].decode("latin-1") not in text
