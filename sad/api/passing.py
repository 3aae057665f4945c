"""Replies with descriptors that ride along (SCM_RIGHTS of unix(7)).

The reply names them by their index, as systemd's Varlink does. Whoever has such a reply owns its
descriptors: :class:`sad.api.edges.Outbox` closes them once they are sent or cannot be any more.
A process has not many, so of one connection no call begins while such a reply waits.
"""

import array
import os
import socket
from collections.abc import Sequence
from typing import TypeAlias

Rights: TypeAlias = "list[tuple[int, int, array.array[int]]]"


class Passed:
    """A reply and its descriptors; :meth:`close` as often as one likes."""

    __slots__ = ("_descriptors", "data")

    def __init__(self, data: bytes, descriptors: Sequence[int]) -> None:
        self.data = data
        self._descriptors = tuple(descriptors)

    @property
    def rights(self) -> Rights:
        """What goes with the first byte of the reply: sendmsg(2)'s ancillary data."""
        return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self._descriptors))]

    def close(self) -> None:
        """Close our ends of the descriptors."""
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


Reply: TypeAlias = bytes | Passed
