"""The verb explain: what becomes of a pasted Security-* header, or of the packets of a flow.

Only a flow needs the daemon, see :mod:`sad.ctl.flows`.

``sip_hooks.secagree`` is imported by the functions, because no other verb needs it.
"""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

from sad.ctl.arguments import SocketAddress, socket_address
from sad.ctl.failures import Exit, Failure
from sad.ctl.flows import explain_flow
from sad.ctl.session import Session
from sad.ctl.sheet import Cell, Sheet
from sad.ctl.words import counted

if TYPE_CHECKING:
    from sip_hooks.secagree import HeaderName, SecMechanism, Verdict

_PLACEHOLDER: Final = "spi-c=256;spi-s=257;port-c=1;port-s=2"


class Fate(TypedDict):
    """What becomes of one element; ``position`` counts from 1, ``reason`` is an API's word."""

    position: int
    mechanism: str
    reason: NotRequired[str]
    text: NotRequired[str]
    rule: NotRequired[str]


class Explained(TypedDict):
    """What ``explain`` prints with ``--json``; without ``taken`` nothing is."""

    header: str
    taken: NotRequired[int]
    elements: list[Fate]


def explain(session: Session, args: Namespace) -> None:
    """Explain a flow to its daemon's kernel, or a header by itself; they differ in form."""
    if (ends := flow_ends(args.header)) is not None:
        explain_flow(session, *ends)
        return
    explain_headers(session, args)


def flow_ends(texts: Sequence[str]) -> tuple[SocketAddress, SocketAddress] | None:
    """Return both ends if the words are two addresses with ports: no header looks like that."""
    if len(texts) != 2:
        return None
    try:
        return socket_address(texts[0]), socket_address(texts[1])
    except ArgumentTypeError:
        return None


def explain_headers(session: Session, args: Namespace) -> None:
    """Print what would be taken of a header, and why not the rest."""
    from sip_hooks.secagree import (  # noqa: PLC0415 - see above
        HeaderError,
        LocalAgreementError,
        ParameterError,
    )

    try:
        explained = explained_header(args)
    except HeaderError as error:
        rule = f" ({error.rule})" if error.rule else ""
        text = f"row {error.row} position {error.position}: {error.reason}{rule}"
        way_out = "a header that breaks the syntax is refused whole"
        raise Failure(text, way_out) from error
    except LocalAgreementError as error:
        rule = f" ({error.rule})" if error.rule else ""
        raise Failure(f"{error.reason}{rule}", error.hint, Exit.USAGE) from error
    except ParameterError as error:  # of --list; what is wrong with the header is explained
        way_out = "list what the client offers, e.g. tls, digest"
        raise Failure(f"{error.text} ({error.rule})", way_out, Exit.USAGE) from error
    if session.output.is_json:
        session.output.document(explained)
    else:
        session.output.lines(explained_lines(explained, session.output.sheet))


def explained_header(args: Namespace) -> Explained:
    """Return what becomes of the rows on the command line; raises the errors of secagree."""
    from sip_hooks.secagree import (  # noqa: PLC0415 - see above
        Challenge,
        Circumstances,
        HeaderName,
        ServerPolicy,
        explain_list,
        explain_offers,
        parse_header,
        read_server_list,
    )
    from sip_hooks.secagree.strength import Assurances  # noqa: PLC0415 - see above

    name, rows = _rows_of(args.header)
    mechanisms = parse_header(rows)
    pairs = tuple(_pair(text) for text in args.algorithms.split(","))
    listed = {
        "accept_withdrawn": args.accept_withdrawn,
        "accept_extensions": args.accept_extensions,
    }
    switches = {
        "accept_reserved_spi": args.accept_reserved_spi,
        "accept_sip_port": args.accept_sip_port,
    }
    policy = ServerPolicy(pairs, **listed, **switches)
    if name is HeaderName.CLIENT:
        if args.list is None:
            return _explained(name, mechanisms, explain_offers(mechanisms, policy))
        promised = Assurances(digest_verify=True, digest_nonce_count=True, tls_version=(1, 2))
        own = read_server_list(args.list, promised, **listed)
        return _explained(name, mechanisms, explain_offers(mechanisms, own.mechanisms))
    offers = args.list or ",".join(
        f"ipsec-3gpp;alg={alg};ealg={ealg};{_PLACEHOLDER}" for alg, ealg in policy.algorithms
    )
    given = Circumstances("sip:first-hop.invalid", Challenge(), **switches)
    return _explained(name, mechanisms, explain_list(mechanisms, parse_header(offers), given))


def explained_lines(explained: Explained, sheet: Sheet) -> list[str]:
    """Return an explanation as lines, the elements in their order."""
    taken = explained.get("taken")
    what = "nothing is taken" if taken is None else f"number {taken} is taken"
    lines = [
        sheet.title(
            explained["header"], f"{counted(len(explained['elements']), 'element')}, {what}"
        )
    ]
    width = max((len(fate["mechanism"]) for fate in explained["elements"]), default=0)
    for fate in explained["elements"]:
        reason = fate.get("reason")
        cells = [Cell(f"{fate['position']:>2}"), Cell(fate["mechanism"], pad=width)]
        if reason is None:
            cells.append(Cell("taken", "good"))
        else:
            cells += [Cell(reason, "bad"), Cell(f"{fate['text']} ({fate['rule']})")]
        lines += sheet.line(cells)
    return lines


def _rows_of(texts: Sequence[str]) -> "tuple[HeaderName, list[str]]":
    """Return the header's name, Security-Client if none is given, and the values of its rows."""
    from sip_hooks.secagree import HeaderName  # noqa: PLC0415 - see above

    known = {name.value.lower(): name for name in HeaderName}
    names: set[HeaderName] = set()
    rows: list[str] = []
    for text in texts:
        written, colon, value = text.partition(":")
        name = known.get(written.strip().lower()) if colon else None
        if name is not None:
            names.add(name)
        rows.append(text if name is None else value)
    if len(names) > 1:
        shown = " and ".join(sorted(name.value for name in names))
        raise Failure(f"{shown} are two headers", "explain one at a time", Exit.USAGE)
    return next(iter(names), HeaderName.CLIENT), rows


def _pair(text: str) -> tuple[str, str]:
    integrity, _, encryption = text.strip().partition("/")
    return integrity, encryption


def _explained(
    name: "HeaderName", mechanisms: "Sequence[SecMechanism]", verdict: "Verdict"
) -> Explained:
    fates: list[Fate] = []
    refused = {refusal.offer_index: refusal for refusal in verdict.refusals}
    for index, mechanism in enumerate(mechanisms):
        fate: Fate = {"position": index + 1, "mechanism": _shown(mechanism)}
        if refusal := refused.get(index):
            fate |= {
                "reason": refusal.reason.value,
                "text": refusal.text,
                "rule": refusal.rule,
            }
        fates.append(fate)
    result: Explained = {"header": name.value, "elements": fates}
    if verdict.taken is not None:
        result["taken"] = verdict.taken + 1
    return result


def _shown(mechanism: "SecMechanism") -> str:
    """Return an element by what tells it from others: name, algorithms, q."""
    parts = [mechanism.name]
    for name in ("alg", "ealg", "d-alg", "d-qop", "q"):
        parameter = mechanism.get(name)
        if parameter is not None and parameter[1] is not None:
            parts.append(f"{name}={parameter[1]}")
    return " ".join(part[:40] for part in parts)
