"""The verbs of ``sadctl``: name, help, options, function. The command line is made of this table.

Shell completion and the manual page are made from :func:`build_parser`.
"""

import importlib
import os
from argparse import SUPPRESS, ArgumentParser, HelpFormatter, Namespace
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sad import __version__
from sad.ctl import arguments, key_arguments
from sad.ctl.failures import Exit
from sad.usage import Parser

if TYPE_CHECKING:
    from sad.ctl.session import Session

_PROGRAM: Final = "sadctl"

_EPILOG: Final = (
    "With --json status, show, find, takeover, release, reconcile, check, key and explain of a "
    "flow print one JSON document, list and monitor one object per line: the replies of the "
    "varlink interfaces org.sipsad.Associations and org.sipsad.Control as they are; explain of a "
    "header prints a document of its own. Exit status: "
    + "; ".join(f"{int(code)} {code.meaning}" for code in Exit)
    + "."
)


class Verb(NamedTuple):
    """One line of the table; the function is ``module.name`` below :mod:`sad.ctl`."""

    name: str
    help: str
    function: str
    add_arguments: Callable[[ArgumentParser], None]

    def run(self, session: "Session", args: Namespace) -> None:
        """Run it; only now its module is loaded, since the others' would cost time for nothing."""
        module, _, name = self.function.partition(".")
        getattr(importlib.import_module(f"sad.ctl.{module}"), name)(session, args)


class _Formatter(HelpFormatter):
    """Knows the width without asking :mod:`shutil`, whose import takes longer than a call."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (ValueError, OSError):
            columns = 80
        super().__init__(prog, width=max(columns, 40) - 2)


def _no_arguments(_parser: ArgumentParser) -> None:
    pass


def _list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--cluster",
        action="store_true",
        default=SUPPRESS,
        help="those of all nodes of the cluster, out of etcd",
    )
    parser.add_argument("--endpoint", metavar="NAME", help="only those on this endpoint")
    parser.add_argument("--impi", metavar="IDENTITY", help="only those of this private identity")
    parser.add_argument(
        "--peer", metavar="ADDRESS", type=arguments.ip_address, help="only those with this peer"
    )
    parser.add_argument(
        "--mechanism", metavar="NAME", help="only those of this mechanism, e.g. ipsec-3gpp"
    )
    parser.add_argument(
        "--expires-within",
        metavar="SPAN",
        type=arguments.span,
        help="only those that end within this time: seconds, or e.g. 10min, 2h, 1d",
    )
    parser.add_argument(
        "--state",
        type=arguments.state,
        metavar="STATE",
        help=f"only those in this state: {', '.join(arguments.STATES)}",
    )


def _show_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "id",
        metavar="ID",
        type=arguments.association_id,
        help="the association's id or its beginning",
    )


def _release_arguments(parser: ArgumentParser) -> None:
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument(
        "id",
        metavar="ID",
        nargs="?",
        type=arguments.association_id,
        help="the association's id or its beginning",
    )
    whom.add_argument("--impi", metavar="IDENTITY", help="all of this private identity")
    whom.add_argument(
        "--peer", metavar="ADDRESS", type=arguments.ip_address, help="all with this peer"
    )
    parser.add_argument(
        "--linger",
        metavar="SECONDS",
        type=arguments.seconds,
        help="how long transactions that run may go on (default: not at all)",
    )


def _find_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "peer",
        metavar="PEER:PORT",
        type=arguments.socket_address,
        help="the other side; IPv6 as [2001:db8::1]:5060",
    )
    parser.add_argument(
        "local", metavar="LOCAL:PORT", type=arguments.socket_address, help="this side"
    )


def _reconcile_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing, say what would be changed"
    )


def _top_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=arguments.timeout,
        default=2.0,
        help="how often it is drawn (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        metavar="NUMBER",
        type=arguments.seconds,
        default=0,
        help="how many times (default: until Ctrl-C)",
    )


def _explain_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "header",
        metavar="WORD",
        nargs="+",
        help="PEER:PORT LOCAL:PORT for a flow; or rows of Security-Client (the name may be left "
        "out), -Server or -Verify, each quoted",
    )
    parser.add_argument(
        "--algorithms",
        metavar="ALG/EALG,...",
        default=",".join(arguments.ALGORITHMS),
        help="pairs of the endpoint, most preferred first (default: %(default)s)",
    )
    parser.add_argument(
        "--list",
        metavar="MECHANISMS",
        help="Security-Server list of an endpoint of profile rfc3329; for Security-Server and "
        "-Verify the client's offers (default: ipsec-3gpp with the algorithms)",
    )
    for name, what in (
        ("withdrawn", "hmac-md5-96 and des-ede3-cbc are allowed"),
        ("extensions", "hmac-sha-256-128 is allowed"),
        ("reserved-spi", "a peer may use SPIs 1 to 255"),
        ("sip-port", "a peer may use ports 5060 and 5061"),
    ):
        parser.add_argument(f"--accept-{name}", action="store_true", help=what)


def _tls_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="list|show|revoke",
        nargs="?",
        choices=("list", "show", "revoke"),
        default="list",
        help="one a row (default), one whole, or out of force: its connections end",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", help="that of this endpoint")


def _takeover_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("endpoint", metavar="ENDPOINT", help="which endpoint")
    parser.add_argument(
        "--fenced",
        action="store_true",
        help="its owner is down or cut off, for certain: do not ask it",
    )


VERBS: Final = (
    Verb(
        "status",
        "the daemon, its endpoints, what the kernel counted (default)",
        "looking.status",
        _no_arguments,
    ),
    Verb("list", "the associations, one a row", "looking.list_associations", _list_arguments),
    Verb("show", "one association whole, with its SAs", "looking.show", _show_arguments),
    Verb("find", "which association protects a flow", "looking.find", _find_arguments),
    Verb("monitor", "changes as they happen, until Ctrl-C", "watching.monitor", _no_arguments),
    Verb("top", "the daemon and its newest associations, live", "topping.top", _top_arguments),
    Verb(
        "tls",
        "the TLS credentials: names, issuer, end, and what is wrong",
        "tls.tls",
        _tls_arguments,
    ),
    Verb(
        "takeover",
        "bring an endpoint of the cluster to this node, with its associations",
        "cluster.takeover",
        _takeover_arguments,
    ),
    Verb("release", "end associations", "changing.release", _release_arguments),
    Verb(
        "reconcile",
        "compare the kernel with the journal and mend what differs",
        "changing.reconcile",
        _reconcile_arguments,
    ),
    Verb(
        "check",
        "is this node fit: capability, ESP, algorithms, ports, hooks, strongSwan, clock, guard",
        "checking.check",
        _no_arguments,
    ),
    Verb(
        "key",
        "key sets of ipsec-man: list, add, rotate, remove; keys are read, never shown",
        "keys.key",
        lambda parser: key_arguments.add_arguments(parser, partial(_add_common, is_verb=True)),
    ),
    Verb(
        "explain",
        "why packets of a flow are protected or not, from policy to counter; or, without sad, "
        "what would be taken of a Security-* header and why not the rest",
        "explaining.explain",
        _explain_arguments,
    ),
)


def _add_common(parser: ArgumentParser, *, is_verb: bool) -> None:
    """Options that may stand before or behind the verb; behind it they have no defaults."""
    parser.add_argument(
        "--json",
        action="store_true",
        default=SUPPRESS if is_verb else False,
        help="print the replies as JSON",
    )
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=SUPPRESS if is_verb else None,
        help="socket of the daemon (default: SAD_SOCKET or /run/sad.sock)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=arguments.timeout,
        default=SUPPRESS if is_verb else None,
        help="how long each answer may take (default: 10; release and reconcile: 60; takeover: "
        "90; monitor waits for ever)",
    )


def build_parser() -> ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog=_PROGRAM,
        description="Look at and control sad, the security association daemon.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    _add_common(parser, is_verb=False)
    parser.add_argument(
        "--cluster", action="store_true", help="list: those of all nodes of the cluster"
    )
    # prog spares argparse a rendering of the usage at each start
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", prog=_PROGRAM)
    for verb in VERBS:
        of_verb = verbs.add_parser(
            verb.name,
            help=verb.help,
            description=f"{verb.help[:1].upper()}{verb.help[1:]}.",
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        _add_common(of_verb, is_verb=True)
        verb.add_arguments(of_verb)
        of_verb.set_defaults(function=verb.run)
    parser.set_defaults(function=VERBS[0].run)
    return parser
