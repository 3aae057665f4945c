"""The key that seals records: a credential of the service manager, or one for this life only.

systemd puts credentials into ``$CREDENTIALS_DIRECTORY`` (systemd.exec(5)); any directory of that
shape will do.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from netlink.secret import Secret
from sad.model.file_access import is_open_to_others

CREDENTIAL: Final = "sad-seal"
KEY_BYTES: Final = 32


class RecordsUnusable(Exception):
    """Sealed records or their key cannot be used; ``hint`` is the way out.

    ``passing``: the file itself may be whole, as with a full disk or a lock.
    """

    def __init__(self, reason: str, hint: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.passing = passing


def find_sealing_key(
    environment: Mapping[str, str], credential: str = CREDENTIAL
) -> Secret | None:
    """Return the credential's key, None if there is no such credential.

    Raises RecordsUnusable for a file that others may read or that holds no key.
    """
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory) / credential
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if is_open_to_others(status.st_mode, _access_list(file.fileno())):
                raise RecordsUnusable(
                    f"{path} can be read by others",
                    f"chmod 0400 {path}, and think whether the key is still a secret",
                )
            key = file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordsUnusable(
            f"{path}: {error.strerror}", "the credential must be readable by sad's user"
        ) from error
    if len(key) != KEY_BYTES:
        raise RecordsUnusable(
            f"{path} is no key: it must hold {KEY_BYTES} bytes",
            f"make one: head --bytes={KEY_BYTES} /dev/urandom",
        )
    return Secret(key)


def key_for_this_life() -> Secret:
    """Return a random key that only this process knows."""
    return Secret(secrets.token_bytes(KEY_BYTES))


def _access_list(file: int) -> bytes | None:
    try:
        return os.getxattr(file, "system.posix_acl_access")
    except OSError:  # none, or a file system without lists
        return None
