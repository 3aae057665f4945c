"""What lies in etcd is sealed: AES-256-GCM, each value bound to its row.

Associated data are the cluster, what kind of row it is, endpoint and id, the generation (the epoch
of the owner who wrote it) and which key sealed it. Two keys can be read, the newest writes, so
that a key can be changed while all nodes run (``sad/docs/cluster.md``).

Many nodes write under one key for years, so random nonces of 96 bits would not do (NIST SP
800-38D 8.3): each process derives a key of its own with a random salt of 128 bits and counts its
nonces.
"""

import functools
import hashlib
import hmac
import itertools
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from netlink.secret import Secret
from sad.store.sealing_key import KEY_BYTES, RecordsUnusable, find_sealing_key

#: The credential that seals, and the one that only opens: before and after a change of keys.
CREDENTIAL: Final = "sad-cluster"
CREDENTIAL_TO_OPEN: Final = "sad-cluster-other"

_FORMAT: Final = b"sad cluster record 1"
_VERSION: Final = 1
#: version, key id, salt, number of the nonce, generation
_HEAD: Final = struct.Struct(">B8s16sQQ")
_NONCE: Final = struct.Struct(">IQ")
_KNOWN_SALTS: Final = 4096


class Unopenable(Exception):
    """A sealed value does not open: another key, another row, or it was changed."""


@dataclass(frozen=True, slots=True)
class Row:
    """Which row a value is of; ``kind`` as in :mod:`sad.cluster.keyspace`."""

    kind: str
    endpoint: str
    id: str


class Sealer:
    """Seals and opens the rows of one cluster. ``keys`` are the newest first, and not wiped."""

    def __init__(self, cluster: str, keys: Sequence[Secret]) -> None:
        self._cluster = cluster.encode()
        self._keys: Mapping[bytes, bytes] = {_id_of(k.reveal()): k.reveal() for k in keys}
        self._newest = next(iter(self._keys))
        self._salt = os.urandom(16)
        self._numbers = itertools.count()
        self._cipher_of = functools.lru_cache(_KNOWN_SALTS)(self._derived)

    def seal(self, row: Row, generation: int, body: bytes | bytearray) -> bytes:
        """Return a body sealed for its row."""
        number = next(self._numbers)
        head = _HEAD.pack(_VERSION, self._newest, self._salt, number, generation)
        cipher = self._cipher_of(self._newest, self._salt)
        return head + cipher.encrypt(_NONCE.pack(0, number), body, self._bound_to(row, head))

    def open(self, row: Row, sealed: bytes) -> tuple[int, bytes]:
        """Return generation and body of a sealed value. Raises Unopenable."""
        if len(sealed) < _HEAD.size or sealed[0] != _VERSION:
            raise Unopenable("of another version of sad")
        head = sealed[: _HEAD.size]
        _, key_id, salt, number, generation = _HEAD.unpack(head)
        if key_id not in self._keys:
            raise Unopenable("sealed with a key that this node does not have")
        cipher = self._cipher_of(key_id, salt)
        try:
            body = cipher.decrypt(
                _NONCE.pack(0, number), sealed[_HEAD.size :], self._bound_to(row, head)
            )
        except InvalidTag:
            raise Unopenable("changed, or of another row") from None
        return generation, body

    def is_of_newest_key(self, sealed: bytes) -> bool:
        """Whether a value was sealed with the key that writes now."""
        return sealed[1:9] == self._newest

    def hashed(self, name: str) -> str:
        """Return a name that nobody without the key can guess, the same at every node."""
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=self._cluster, info=b"names")
        key = derived.derive(self._keys[self._newest])
        return hmac.digest(key, name.encode(), hashlib.sha256)[:16].hex()

    def _derived(self, key_id: bytes, salt: bytes) -> AESGCM:
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=_FORMAT)
        return AESGCM(derived.derive(self._keys[key_id]))

    def _bound_to(self, row: Row, head: bytes) -> bytes:
        names = (row.kind.encode(), row.endpoint.encode(), row.id.encode())
        return b"\0".join((_FORMAT, self._cluster, *names, head))


def open_sealer(cluster: str, environment: Mapping[str, str]) -> Sealer:
    """Return the sealer by this process's credentials. Raises RecordsUnusable."""
    keys = [
        key
        for name in (CREDENTIAL, CREDENTIAL_TO_OPEN)
        if (key := find_sealing_key(environment, name)) is not None
    ]
    if not keys or find_sealing_key(environment, CREDENTIAL) is None:
        raise RecordsUnusable(
            f"[cluster] needs the credential {CREDENTIAL}",
            f"make its {KEY_BYTES} bytes once for all nodes (head --bytes={KEY_BYTES} "
            "/dev/urandom) and give them to each by LoadCredential",
        )
    return Sealer(cluster, keys)


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"sad cluster key\0" + key).digest()[:8]
