"""Key material that cannot be shown by accident."""

from collections.abc import Iterable
from typing import NoReturn


class Secret:
    """Bytes that never print, compare or pickle; :meth:`reveal` is the only way to them.

    The buffer is mutable so that :meth:`wipe` can overwrite it. Python may have copied the bytes
    elsewhere on their way here (the JSON decoder has), so wiping shortens exposure, no more.
    """

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray) -> None:
        self._buffer = bytearray(value)

    def reveal(self) -> bytes:
        """Return the key bytes. Callers: key expansion and message encoding, nothing else."""
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite the bytes with zeros; the length stays."""
        self._buffer[:] = bytes(len(self._buffer))

    def __len__(self) -> int:
        return len(self._buffer)

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def reveal_all(secrets: Iterable[Secret]) -> list[bytes]:
    """Return the key bytes of many, for message encoding: one call and not one for each."""
    return [bytes(secret._buffer) for secret in secrets]  # noqa: SLF001 - of this module
