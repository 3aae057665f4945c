"""The life of an association as log records: each step has its MESSAGE_ID, all the same fields.

``journalctl SAD_ASSOCIATION=ID`` tells one life in order, ``journalctl MESSAGE_ID=...`` one kind
of step of all. The text of a record says the same for whoever reads without fields.
"""

import enum
import logging
import time
from collections.abc import Mapping

from sad.model.association import Association, AssociationState

log = logging.getLogger(__name__)


class Step(enum.StrEnum):
    """What happened; the value is the MESSAGE_ID (sd_journal_print(3)), which never changes."""

    INSTALLED = "98ba31b5e5bd42bd8789b6b36937f63a"
    ATTACHED = "f331050389564f1bb468a855b68e0967"
    ESTABLISHED = "ad7d52dc19e14e228744e51e312f3f7a"
    IN_USE = "29608f91c7924df59cf272684c19e31b"
    TAKEN_UP = "8d0c41c2b3f94f5b9d0e6a57c1a42e90"
    LENGTHENED = "edcd352f266a43558760e41c0c2e8ee6"
    NAT_FOLLOWED = "5e0f6c1b9a7d4c21b0f4a2d98c3e7715"
    RETIRING = "d7d04291b5b9427abf64cd1749f28dff"
    REBUILT = "930d25c8f0544d479a2499366e968885"
    TAKEN_OVER = "c2b7a0f4d86b4d3fa1c0f0a0d4f1b9e5"
    ENDED = "72519a16e3c44cb699efcd3f1943407e"

    @property
    def word(self) -> str:
        """Return the step as the API names it, as states are: ``inUse``."""
        return _WORDS[self]


def _word(step: Step) -> str:
    first, *rest = step.name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


_WORDS = {step: _word(step) for step in Step}

_STEP_INTO = {
    AssociationState.TEMPORARY: Step.TAKEN_UP,
    AssociationState.ESTABLISHED: Step.ESTABLISHED,
    AssociationState.IN_USE: Step.IN_USE,
    AssociationState.RETIRING: Step.RETIRING,
}


def step_between(before: Association, after: Association) -> Step:
    """Return what a change was: into a new state, or a longer life in the old one."""
    if after.state is not before.state:
        return _STEP_INTO[after.state]
    return Step.LENGTHENED


def tell(step: Step, association: Association, *, now: float) -> None:
    """Log a step; ``now`` is in seconds of CLOCK_BOOTTIME."""
    if log.isEnabledFor(logging.INFO):
        words = _words(step, association, max(0, round(association.deadline_at - now)))
        message = f"association {association.id} {words}"
        log.handle(_StepRecord(message, _fields(step, association)))


class _StepRecord(logging.LogRecord):
    """A record of the library, made at a fifth of its price: each registration has two.

    Its message is whole, and where it comes from is known without a look at the stack.
    """

    def __init__(self, message: str, fields: Mapping[str, str]) -> None:
        attributes = self.__dict__
        attributes.update(_OF_EVERY_STEP)
        attributes.update(fields)
        now = time.time()
        attributes["msg"] = message
        attributes["created"] = now
        attributes["msecs"] = int(now % 1 * 1000) + 0.0  # as the library: thousandths
        attributes["relativeCreated"] += 1000 * (now - _OF_EVERY_STEP["created"])


#: What all of them have alike, and the instants of the first, from which the others count.
_OF_EVERY_STEP = vars(
    logging.LogRecord(
        log.name,
        logging.INFO,
        __file__,
        tell.__code__.co_firstlineno,
        "",
        args=None,
        exc_info=None,
        func=tell.__name__,
    )
)


def _words(step: Step, association: Association, seconds: int) -> str:
    match step:
        case Step.INSTALLED:
            peer = association.path.peer_address
            return f"installed on {association.endpoint} for {peer}, {seconds} s left"
        case Step.ATTACHED:
            tls = association.tls
            who = "" if tls is None or tls.identity is None else f" as {tls.identity}"
            return f"bound to a connection of {association.path.peer_address}{who}"
        case Step.ESTABLISHED:
            return f"established, {seconds} s left"
        case Step.IN_USE:
            return f"in use, {seconds} s left"
        case Step.TAKEN_UP:
            return f"taken up again by its peer, {seconds} s left"
        case Step.LENGTHENED:
            return f"lengthened, {seconds} s left"
        case Step.NAT_FOLLOWED:
            udp = association.ipsec_3gpp and association.ipsec_3gpp.encapsulation
            return f"behind a NAT: {udp.peer_address} port {udp.peer_port}" if udp else "moved"
        case Step.RETIRING:
            return f"retiring, {seconds} s left"
        case Step.REBUILT:
            return "rebuilt: somebody had deleted SAs of it"
        case Step.TAKEN_OVER:
            peer = association.path.peer_address
            return f"taken over on {association.endpoint} for {peer}, {seconds} s left"
        case Step.ENDED:
            return f"ended: {association.end_reason}"


def _fields(step: Step, association: Association) -> dict[str, str]:
    fields = {
        "MESSAGE_ID": str(step),
        "SAD_ASSOCIATION": association.id,
        "SAD_ENDPOINT": association.endpoint,
        "SAD_MECHANISM": association.mechanism,
        "SAD_IDENTITY": association.private_identity,
        "SAD_PEER": association.path.peer_address,
        "SAD_STATE": str(association.state),
    }
    if association.end_reason is not None:
        fields["SAD_REASON"] = str(association.end_reason)
    return fields
