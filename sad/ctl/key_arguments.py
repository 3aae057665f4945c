"""The command line of the verb ``key``: words, options, and how keys are given."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Final

from sad.ctl import arguments

_KEYS: Final = (
    "Keys come from standard input (without an echo at a terminal), or from a descriptor: one "
    "line a key in hex digits, integrity before encryption, or FIELD = HEX as in key files."
)


def add_arguments(parser: ArgumentParser, common: Callable[[ArgumentParser], None]) -> None:
    """Give ``key`` its words; ``common`` adds the options that all have."""
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True, title="words")

    def word(
        name: str,
        text: str,
        *,
        keys: bool = False,
    ) -> ArgumentParser:
        made: ArgumentParser = words.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}." + (f" {_KEYS}" if keys else ""),
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        common(made)
        return made

    word("list", "show all key sets, and what is wrong in the key files")
    _arguments_of_add(word("add", "give sad a key set until it stops", keys=True))
    _arguments_of_rotate(word("rotate", "give sad the set that follows another one", keys=True))
    removing = word("remove", "remove a set that was added or rotated; its SAs end")
    removing.add_argument("name", metavar="NAME", help="the set's name")


def _arguments_of_add(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a name for the set")
    parser.add_argument(
        "--endpoint", metavar="NAME", required=True, help="whose ports it protects"
    )
    address = arguments.ip_address
    parser.add_argument(
        "--peer",
        metavar="ADDRESS",
        type=address,
        help="the peer's end (default: where its identity agrees; takes --agreement)",
    )
    parser.add_argument(
        "--local",
        metavar="ADDRESS",
        type=address,
        help="this end (default: the endpoint's of the peer's IP version)",
    )
    parser.add_argument("--identity", metavar="IDENTITY", help="private identity of the peer")
    parser.add_argument("--role", choices=("edge", "ue"), help="this node's side (default: edge)")
    for name, whose in (("local", "ports of the endpoint"), ("peer", "the peer's ports")):
        parser.add_argument(
            f"--{name}-ports",
            metavar="PORT,...",
            type=arguments.ports,
            required=True,
            help=f"{whose} that it protects",
        )
    parser.add_argument(
        "--integrity",
        metavar="ALG",
        default="hmac-sha-256-128",
        help="%(default)s or hmac-sha-1-96 (default: %(default)s)",
    )
    parser.add_argument(
        "--encryption",
        metavar="EALG",
        default="aes-cbc-256",
        help="aes-cbc-256, aes-cbc-128 or null (default: %(default)s)",
    )
    parser.add_argument(
        "--agreement",
        action="store_true",
        help="make the SAs when the peer agrees on ipsec-man, not at once",
    )
    _common_of_new_sets(parser)


def _arguments_of_rotate(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the set that is to be followed")
    parser.add_argument("new_name", metavar="NEW", help="a name for the one that follows")
    _common_of_new_sets(parser)


def _common_of_new_sets(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--spi-in", metavar="SPI", type=arguments.number, required=True, help="the peer sends with"
    )
    parser.add_argument(
        "--spi-out", metavar="SPI", type=arguments.number, required=True, help="sad sends with"
    )
    parser.add_argument(
        "--not-before",
        metavar="WHEN",
        type=arguments.instant,
        help="valid from then on: 2027-01-01T00:00:00Z, or +SPAN (default: now)",
    )
    parser.add_argument(
        "--not-after",
        metavar="WHEN",
        type=arguments.instant,
        required=True,
        help="valid until then: 2027-07-01T00:00:00Z, or +90d, +12h, +30min, +45s",
    )
    parser.add_argument(
        "--key-fd",
        metavar="N",
        type=arguments.descriptor,
        default=None,
        help="read the keys from this descriptor, not from standard input",
    )
