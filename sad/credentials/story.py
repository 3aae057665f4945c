"""The life of an endpoint's credential set as log records, each kind with its MESSAGE_ID.

As :mod:`sad.runtime.story` for associations. ``journalctl SAD_ENDPOINT=access`` tells both.
"""

import enum
import logging

from sad.credentials.expiry import Stage
from sad.model.credential import Finding

log = logging.getLogger(__name__)


class Step(enum.Enum):
    """What happened; the value is the MESSAGE_ID (sd_journal_print(3)), which never changes."""

    LOADED = "2ade19fb8470420ea45aa93d2ca4ac76"
    REFUSED = "9dd3626e471a44639588d0b6e406e0ee"
    EXPIRING = "7aa067f6c3bb47e98ab97a153577527c"
    EXPIRED = "c12d468a736244d0bec8845e0a728d66"
    COMMAND_FAILED = "9073d65a1b3c4fd09030c929102704fe"
    REVOKED = "214bc4af8e894b719d9a0c9110a85854"
    GONE = "2bb3773765e3445eb861a4429a18a500"


def loaded(endpoint: str, generation: str, names: tuple[str, ...], until: str) -> None:
    """A set is in force from now on."""
    log.info(
        "TLS credential of %s in force: %s, until %s, generation %s",
        endpoint,
        ", ".join(names),
        until,
        generation,
        extra=_fields(Step.LOADED, endpoint, generation),
    )


def refused(endpoint: str, generation: str, found: Finding) -> None:
    """What lies in the files is not used; ``generation`` is the one that stays, if any."""
    stays = f"generation {generation} stays in force" if generation else "none is in force"
    log.error(
        "TLS credential of %s refused, %s: %s; %s",
        endpoint,
        stays,
        found,
        found.hint,
        extra=_fields(Step.REFUSED, endpoint, generation) | {"SAD_REASON": found.reason},
    )


def expiring(endpoint: str, generation: str, found: Finding, stage: Stage) -> None:
    """A set comes to its end, or is there."""
    step = Step.EXPIRED if stage is Stage.EXPIRED else Step.EXPIRING
    log.log(
        logging.ERROR if stage >= Stage.DAY else logging.WARNING,
        "TLS credential of %s: %s; %s",
        endpoint,
        found.text,
        found.hint,
        extra=_fields(step, endpoint, generation) | {"SAD_REASON": found.reason},
    )


def command_failed(endpoint: str, generation: str, found: Finding) -> None:
    """The SIP server may go on with the old files."""
    log.error(
        "reload command after the new TLS credential of %s: %s; %s",
        endpoint,
        found.text,
        found.hint,
        extra=_fields(Step.COMMAND_FAILED, endpoint, generation) | {"SAD_REASON": found.reason},
    )


def revoked(endpoint: str, generation: str) -> None:
    """An operator took it out of force."""
    log.warning(
        "TLS credential of %s revoked, generation %s",
        endpoint,
        generation,
        extra=_fields(Step.REVOKED, endpoint, generation),
    )


def gone(endpoint: str, generation: str) -> None:
    """The settings name none any more."""
    log.info(
        "TLS credential of %s removed: the settings name none",
        endpoint,
        extra=_fields(Step.GONE, endpoint, generation),
    )


def _fields(step: Step, endpoint: str, generation: str) -> dict[str, str]:
    fields = {"MESSAGE_ID": step.value, "SAD_ENDPOINT": endpoint}
    return fields | {"SAD_GENERATION": generation} if generation else fields
