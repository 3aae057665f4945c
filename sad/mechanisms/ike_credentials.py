"""Secrets and certificates of ``ipsec-ike``, read when a connection is loaded, kept nowhere.

A source is an absolute path, or the name of a credential that systemd hands over. What holds a
secret must be readable by its owner alone.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sad.model.errors import MechanismUnavailable

_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
_LARGEST: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
MECHANISM: Final = "ipsec-ike"


def read_secret(source: str, environment: Mapping[str, str]) -> bytearray:
    """Return a secret without the newline at its end; whoever has it wipes it."""
    data = _read(source, environment, secret=True)
    while data and data[-1] in b"\r\n":
        data.pop()
    if not data:
        raise _refused(source, "is empty", "write the secret into it")
    return data


def read_certificate(source: str, environment: Mapping[str, str]) -> bytes:
    """Return a certificate, DER or PEM."""
    return bytes(_read(source, environment, secret=False))


def read_private_key(source: str, environment: Mapping[str, str]) -> bytearray:
    """Return a private key, DER or PEM; whoever has it wipes it."""
    return _read(source, environment, secret=True)


def _read(source: str, environment: Mapping[str, str], *, secret: bool) -> bytearray:
    path = _path_of(source, environment)
    try:
        # Without waiting: a pipe that nobody writes to would hold up the whole daemon.
        with open(path, "rb", buffering=0, opener=_opened_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refused(source, "is no regular file", "name a file")
            if secret and status.st_mode & _OTHERS and source.startswith("/"):
                raise _refused(source, "may be read by others", f"chmod 600 {source}")
            data = bytearray(_LARGEST)
            length = file.readinto(data)
    except OSError as error:
        hint = "see that it exists and that user sad may read it"
        raise _refused(source, error.strerror or "cannot be read", hint) from None
    if length == _LARGEST:
        raise _refused(source, f"has {_LARGEST} bytes or more", "name another file")
    del data[length:]
    return data


def _opened_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _path_of(source: str, environment: Mapping[str, str]) -> Path:
    if source.startswith("/"):
        return Path(source)
    directory = environment.get(_DIRECTORY)
    if directory is None:
        raise _refused(
            source,
            "is a credential, and systemd has handed over none",
            f"write LoadCredential={source}:PATH into a drop-in of sad.service",
        )
    return Path(directory) / source


def _refused(source: str, reason: str, hint: str) -> MechanismUnavailable:
    return MechanismUnavailable(mechanism=MECHANISM, reason=f"{source} {reason}", hint=hint)
