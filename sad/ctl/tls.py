"""The verb of TLS credential sets: tls list, tls show. No key ever appears."""

import time
from argparse import Namespace
from functools import partial

from sad.ctl.credentials import credential_lines, credential_rows
from sad.ctl.failures import Failure
from sad.ctl.session import CONTROL, Session, given


def tls(session: Session, args: Namespace) -> None:
    """Show every set as a row, or one whole."""
    if args.what == "show" and args.endpoint is None:
        raise Failure("which endpoint's?", "sadctl tls show ENDPOINT; sadctl tls list names them")
    reply = session.call(f"{CONTROL}.ListCredentials", given(endpoint=args.endpoint))
    lines = credential_lines if args.what == "show" else credential_rows
    session.answer(reply, partial(lines, now=time.time()))
