"""The verb of TLS credential sets: tls list, tls show, tls revoke. No key ever appears."""

import time
from argparse import Namespace
from functools import partial

from sad.ctl.credentials import credential_lines, credential_rows
from sad.ctl.failures import Failure
from sad.ctl.session import CONTROL, Session, given
from sad.ctl.shapes import RevokeCredentialOut
from sad.ctl.sheet import Sheet


def tls(session: Session, args: Namespace) -> None:
    """Show every set as a row, or one whole; or revoke one."""
    if args.what != "list" and args.endpoint is None:
        way_out = f"sadctl tls {args.what} ENDPOINT; sadctl tls list names them"
        raise Failure("which endpoint's?", way_out)
    if args.what == "revoke":
        _revoke(session, args.endpoint)
        return
    reply = session.call(f"{CONTROL}.ListCredentials", given(endpoint=args.endpoint))
    lines = credential_lines if args.what == "show" else credential_rows
    session.answer(reply, partial(lines, now=time.time()))


def _revoke(session: Session, endpoint: str) -> None:
    """Take it out of force: the connections that were made with it end."""
    reply = session.call(f"{CONTROL}.RevokeCredential", {"endpoint": endpoint})
    session.answer(reply, _revoked_lines)


def _revoked_lines(reply: RevokeCredentialOut, sheet: Sheet) -> list[str]:
    return [
        *sheet.labelled("revoked", f"generation {reply['generation']}", indent=""),
        *sheet.labelled("hint", "replace the files, then systemctl reload sad", "hint", indent=""),
    ]
