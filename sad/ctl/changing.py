"""Verbs that change something: release, reconcile."""

from argparse import Namespace
from typing import Final

from sad.ctl.render import reconcile_lines, released_lines
from sad.ctl.session import ASSOCIATIONS, CONTROL, Reply, Session, given

#: Releasing or comparing very many takes its time in the kernel.
_PATIENCE_SECONDS: Final = 60.0


def release(session: Session, args: Namespace) -> None:
    """End one association, or all of an identity or of a peer."""

    def call(whole_id: str | None) -> Reply:
        parameters = given(
            id=whole_id,
            privateIdentity=args.impi,
            peerAddress=args.peer,
            lingerSeconds=args.linger,
        )
        return session.call(f"{ASSOCIATIONS}.Release", parameters, patience=_PATIENCE_SECONDS)

    reply = call(None) if args.id is None else session.with_whole_id(args.id, call)
    session.answer(reply, released_lines)


def reconcile(session: Session, args: Namespace) -> None:
    """Compare the kernel with the journal now and mend what differs, or only say it."""
    wanted = {"dryRun": True} if args.dry_run else {}
    reply = session.call(f"{CONTROL}.Reconcile", wanted, patience=_PATIENCE_SECONDS)
    session.answer(reply, reconcile_lines)
