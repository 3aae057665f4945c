"""Every failure as a message, its way out, and an exit code. Pure but for one look at a socket.

Counterparts: the ``error`` lines of ``sad/api/*.varlink`` and the exceptions of
:mod:`sip_hooks.client`. Texts of the daemon are shown, never interpreted.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from sad.ctl.words import printable


class Exit(enum.IntEnum):
    """Exit codes of ``sadctl``; part of its interface."""

    meaning: str

    OK = 0, "done"
    REFUSED = 1, "refused, a check failed, or what was asked for does not exist"
    USAGE = 2, "the command line is wrong"
    UNREACHABLE = 3, "sad cannot be reached, or does not answer"
    NOT_PERMITTED = 4, "not permitted"
    INTERRUPTED = 130, "interrupted"  # 128 + SIGINT, as shells count

    def __new__(cls, value: int, meaning: str) -> Self:
        """Let a code carry its meaning."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code


class Failure(Exception):
    """Why a run failed, for people."""

    def __init__(self, message: str, way_out: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out
        self.code = code

    def text(self) -> str:
        """Return the message and, on a second line, the way out."""
        way_out = f"\nhint: {printable(self.way_out)}" if self.way_out else ""
        return f"sadctl: {printable(self.message)}{way_out}\n"


class _Sentence(NamedTuple):
    """How an error of the interface reads; names in braces are its parameters."""

    message: str
    way_out: str = "{hint}"
    code: Exit = Exit.REFUSED


_TOO_OLD: Final = "sad is older than this sadctl: restart it (systemctl restart sad.service)"
_VERSIONS: Final = "sad and sadctl are of different versions: restart sad or update sadctl"

_OF_SAD: Final[Mapping[str, _Sentence]] = {
    "NoSuchEndpoint": _Sentence('there is no endpoint "{endpoint}"'),
    "NotOwner": _Sentence('endpoint "{endpoint}" is not this node\'s, its owner is {owner}'),
    "TakeoverRefused": _Sentence(
        'endpoint "{endpoint}" was not taken over from {owner}: {reason}'
    ),
    "NoCluster": _Sentence("no cluster: {reason}"),
    "NoSuchAssociation": _Sentence("there is no such association"),
    "UnknownFlow": _Sentence("no association protects this flow"),
    "NoSuchConnection": _Sentence("no such TCP connection: {reason}"),
    "NotPermitted": _Sentence("not permitted: {reason}", code=Exit.NOT_PERMITTED),
    "BadParameter": _Sentence("{parameter}: {reason}"),
    "AlgorithmUnavailable": _Sentence("algorithm {algorithm}: {reason}"),
    "MechanismUnavailable": _Sentence("mechanism {mechanism}: {reason}"),
    "NoCredential": _Sentence('endpoint "{endpoint}": {reason}'),
    "FlowInUse": _Sentence("in use by association {id}: {reason}"),
    "LimitExceeded": _Sentence("limit {limit} ({maximum}) is reached"),
    "PoolExhausted": _Sentence("no free {pool} is left (of {size})"),
    "NoCommonMechanism": _Sentence("no offer of the Security-Client list can be taken"),
    "BadHeader": _Sentence("{header} row {row} position {position}: {reason}"),
    "VerifyMismatch": _Sentence("{header} is not what was agreed: {difference}"),
    "KernelRefused": _Sentence("the kernel refused {object}: {message} ({name})"),
    "JournalUnavailable": _Sentence("the journal cannot be written: {reason}"),
    "Busy": _Sentence("sad is busy: {reason}", "try again in {retryAfterMilliseconds} ms"),
    "InternalError": _Sentence(
        "sad failed in a way nobody foresaw", "journalctl -u sad.service | grep {reference}"
    ),
}

_OF_VARLINK: Final[Mapping[str, _Sentence]] = {
    "MethodNotFound": _Sentence("sad does not know {method}", _TOO_OLD),
    "MethodNotImplemented": _Sentence("sad does not know {method}", _TOO_OLD),
    "InterfaceNotFound": _Sentence("sad does not know {interface}", _TOO_OLD),
    "InvalidParameter": _Sentence("sad does not understand parameter {parameter}", _VERSIONS),
    "ExpectedMore": _Sentence("sad has more answers than were asked for", _VERSIONS),
    "PermissionDenied": _Sentence(
        "not permitted", "call as root or as a member of a control group", Exit.NOT_PERMITTED
    ),
}


class _Parameters(dict[str, Any]):
    """An error's parameters; one that is missing shows as a question mark, an absent hint not."""

    def __missing__(self, key: str) -> str:
        return "" if key == "hint" else "?"


def of_call_error(name: str, parameters: Mapping[str, Any]) -> Failure:
    """Return the failure for an error reply; ``name`` with its interface."""
    interface, _, short = name.rpartition(".")
    known = _OF_VARLINK if interface == "org.varlink.service" else _OF_SAD
    values = _Parameters({k: v for k, v in parameters.items() if v is not None})
    sentence = known.get(short)
    if sentence is None:  # an error of a later version: say what it says
        details = ", ".join(f"{k} {v}" for k, v in values.items() if k != "hint")
        return Failure(f"{short}: {details}" if details else short, str(values["hint"]))
    message = sentence.message.format_map(values)
    if rule := values.get("rule"):
        message += f" ({rule})"
    return Failure(message, sentence.way_out.format_map(values), sentence.code)


def of_missing_field(field: object) -> Failure:
    """Return the failure for a reply without a field that it should have."""
    return Failure(f"the answer of sad has no field {field}", _VERSIONS)


def of_time_out(path: str, seconds: float) -> Failure:
    """Return the failure for a daemon that does not answer."""
    return Failure(
        f"no answer at {path} within {seconds:g} s",
        "give it longer with --timeout, or see what it does: systemctl status sad.service",
        Exit.UNREACHABLE,
    )


def of_broken_stream(path: str) -> Failure:
    """Return the failure for a daemon that left in the middle of its answers."""
    return Failure(
        f"sad closed the connection at {path}; there was more to come",
        "was it stopped or restarted? systemctl status sad.service",
        Exit.UNREACHABLE,
    )


def of_bad_reply(path: str, reason: str) -> Failure:
    """Return the failure for something else that answers."""
    return Failure(
        f"what answers at {path} is not sad: {reason}",
        "is it another program's socket? --socket or SAD_SOCKET names sad's",
        Exit.UNREACHABLE,
    )


def of_unreachable(path: str, reason: str, *, may_have_run: bool) -> Failure:
    """Return the failure for a socket that is not there, that nobody serves, or that broke."""
    if may_have_run:
        return Failure(
            f"sad at {path} left before it answered: {reason}",
            "it may have done what was asked: sadctl list shows what lives",
            Exit.UNREACHABLE,
        )
    return Failure(
        f"cannot reach sad at {path}: {reason}",
        "is sad running? systemctl status sad.socket (another socket: --socket or SAD_SOCKET)",
        Exit.UNREACHABLE,
    )


def of_forbidden_socket(path: str, group: str | None) -> Failure:
    """Return the failure for a socket that this user may not open; ``group`` is whose may."""
    way_out = f"join group {group} or use sudo" if group else "use sudo"
    return Failure(f"cannot open {path}: permission denied", way_out, Exit.NOT_PERMITTED)


def of_output(reason: str) -> Failure:
    """Return the failure for an output that takes no more, e.g. a full disk."""
    return Failure(f"cannot write the answer: {reason}", "")


def group_of_socket(path: str) -> str | None:
    """Return the group whose members may connect to a socket, None if none may or it is hidden."""
    import grp  # noqa: PLC0415 - only this failure needs it
    import os  # noqa: PLC0415 - as above
    import stat  # noqa: PLC0415 - as above

    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib would lengthen the start
    except OSError:
        return None
    if not status.st_mode & stat.S_IWGRP:  # connecting to a socket is writing to it (unix(7))
        return None
    try:
        return grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return str(status.st_gid)
