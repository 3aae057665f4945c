"""The verb that keeps looking: monitor."""

import time
from argparse import Namespace
from functools import partial

from sad.ctl.render import event_lines
from sad.ctl.session import ASSOCIATIONS, Session
from sip_hooks.client import CallError

_MONITOR = f"{ASSOCIATIONS}.Monitor"


def monitor(session: Session, _args: Namespace) -> None:
    """Show changes until interrupted; begin anew after a ``resync``, also over a restart."""
    _watch(session)
    while True:
        try:
            _watch(session)
        except CallError as error:
            if error.name != f"{ASSOCIATIONS}.Busy":  # it is starting
                raise
            time.sleep(error.parameters.get("retryAfterMilliseconds", 1000) / 1000)


def _watch(session: Session) -> None:
    """Show one subscription to its end: its last word is ``resync``."""
    for reply in session.stream(_MONITOR, {}, patience=None):
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        session.answer_row(reply, partial(event_lines, stamp=stamp))
        session.output.flush()
        if reply.get("event") == "resync":
            return
