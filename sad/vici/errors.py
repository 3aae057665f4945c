"""What can go wrong between ``sad`` and charon, with the way out."""

from dataclasses import dataclass
from typing import Final

START_IT: Final = "start strongSwan (systemctl start strongswan), or look at its journal"
SET_PATH: Final = "install charon-systemd and start it, or correct ike.socket_path"


class ViciError(Exception):
    """Base of what this package raises."""


@dataclass(eq=False)
class Unavailable(ViciError):
    """Charon is not there, has ended, or does not answer in time.

    ``gone``: nobody serves its socket, so what it held is nobody's.
    """

    reason: str
    hint: str
    gone: bool = False

    def __str__(self) -> str:
        return self.reason


class Abandoned(ViciError):
    """Whoever had the connection before was cancelled; this command was not sent."""


@dataclass(eq=False)
class CommandFailed(ViciError):
    """Charon has refused a command, in its own words; ``log`` is what it told on the way."""

    command: str
    words: str
    log: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.command}: {self.words}"


@dataclass(eq=False)
class BadMessage(ViciError):
    """What came is not VICI, or not what this command answers."""

    reason: str

    def __str__(self) -> str:
        return self.reason
