"""Verbs that look once: status, list, show, find."""

import time
from argparse import Namespace
from functools import partial

from sad.ctl.details import details_lines, found_lines
from sad.ctl.render import listed_lines, status_lines
from sad.ctl.session import ASSOCIATIONS, CONTROL, Session, given


def status(session: Session, _args: Namespace) -> None:
    """Show the daemon, its endpoints and what the kernel counted."""
    reply = session.call(f"{CONTROL}.GetStatus", {})
    session.answer(reply, partial(status_lines, now=time.time()))


def list_associations(session: Session, args: Namespace) -> None:
    """Show associations as they arrive; nothing is kept."""
    if args.cluster:
        from sad.ctl.cluster import list_cluster  # noqa: PLC0415 - few are in one

        list_cluster(session)
        return
    wanted = given(
        endpoint=args.endpoint,
        privateIdentity=args.impi,
        peerAddress=args.peer,
        mechanism=args.mechanism,
        state=args.state,
        expiresWithinSeconds=args.expires_within,
    )
    found = False
    for reply in session.stream(f"{ASSOCIATIONS}.List", wanted):
        if reply.get("association"):
            found = True
            session.answer_row(reply, listed_lines)
    output = session.output
    if not found and output.is_terminal and not output.is_json:
        output.lines(["no association matches" if wanted else "no associations"])


def show(session: Session, args: Namespace) -> None:
    """Show one association whole."""
    reply = session.with_whole_id(
        args.id,
        lambda whole: session.call(f"{ASSOCIATIONS}.Get", {"id": whole, "whole": True}),
    )
    session.answer(reply, partial(details_lines, now=time.time()))


def find(session: Session, args: Namespace) -> None:
    """Show which association protects a flow."""
    flow = {
        "peerAddress": args.peer.address,
        "peerPort": args.peer.port,
        "localAddress": args.local.address,
        "localPort": args.local.port,
    }
    reply = session.call(f"{ASSOCIATIONS}.Find", {"flow": flow})
    session.answer(reply, partial(found_lines, now=time.time()))
