"""TLS credential sets as lines for people. Pure: ``now`` is in real-time seconds."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from sad.ctl.shapes import Certificate, Credential, CredentialFinding, ListCredentialsOut
from sad.ctl.sheet import Cell, Sheet
from sad.ctl.words import ago, listing, span

_ROLES: Final = {"valid": "good", "expired": "bad", "revoked": "bad", "missing": "bad"}
_STATE_WIDTH: Final = len("missing")
_MICROSECONDS: Final = 1_000_000


def credential_rows(reply: ListCredentialsOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``ListCredentials``, one set a row; what is wrong stands below it."""
    found = reply["credentials"]
    if not found:
        return ["no endpoint has settings of a TLS credential ([endpoint.tls])"]
    return [line for credential in found for line in _row(credential, sheet, now)]


def credential_lines(reply: ListCredentialsOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``ListCredentials`` with each set whole."""
    lines: list[str] = []
    for credential in reply["credentials"]:
        lines += ([""] if lines else []) + list(_whole(credential, sheet, now))
    return lines


def _row(credential: Credential, sheet: Sheet, now: float) -> Iterator[str]:
    state = credential["state"]
    certificate = credential.get("certificate")
    cells = [Cell(credential["endpoint"]), Cell(state, _ROLES.get(state, ""), _STATE_WIDTH)]
    if certificate:
        cells += [
            Cell(_end(certificate["validUntil"], now)),
            Cell(listing(certificate["names"])),
            Cell(f"by {certificate['issuer']}"),
        ]
    yield from sheet.line(cells)
    yield from _findings("refused", credential["refusals"], sheet)
    yield from _findings("warning", credential["warnings"], sheet)


def _whole(credential: Credential, sheet: Sheet, now: float) -> Iterator[str]:
    yield sheet.title("TLS credential of", credential["endpoint"])
    state = credential["state"]
    since = f", loaded {ago(credential['loadedAt'], now)}" if credential["loadedAt"] else ""
    yield from sheet.labelled("state", f"{state}{since}", _ROLES.get(state, ""))
    if certificate := credential.get("certificate"):
        yield from _certificate(certificate, sheet, now)
        yield from sheet.labelled("generation", credential["generation"])
    yield from sheet.labelled("TLS", f"{credential['minimumVersion']} or later")
    yield from sheet.labelled("ciphers", listing(credential["ciphers"]))
    yield from sheet.labelled("client authentication", credential["clientAuthentication"])
    yield from _findings("refused", credential["refusals"], sheet)
    yield from _findings("warning", credential["warnings"], sheet)


def _certificate(certificate: Certificate, sheet: Sheet, now: float) -> Iterator[str]:
    yield from sheet.labelled("SIP domains", listing(certificate["names"]))
    yield from sheet.labelled("subjectAltName", listing(certificate["alternativeNames"]))
    yield from sheet.labelled("subject", certificate["subject"])
    yield from sheet.labelled("issuer", certificate["issuer"])
    yield from sheet.labelled("serial number", certificate["serial"])
    yield from sheet.labelled("public key", certificate["algorithm"])
    yield from sheet.labelled("valid from", _date(certificate["notBefore"]))
    until = f"{_date(certificate['notAfter'])} ({_end(certificate['notAfter'], now)})"
    yield from sheet.labelled("valid until", until)
    if certificate["validUntil"] != certificate["notAfter"]:
        first = _date(certificate["validUntil"])
        text = f"{certificate['endsFirst']}: {first} ({_end(certificate['validUntil'], now)})"
        yield from sheet.labelled("ends first", text)


def _findings(label: str, findings: Iterable[CredentialFinding], sheet: Sheet) -> Iterator[str]:
    for found in findings:
        text = f"{found['part']}: {found['text']} ({found['reason']}, {found['rule']})"
        yield from sheet.labelled(label, text, "bad" if label == "refused" else "waiting")
        if found["hint"]:
            yield from sheet.labelled("hint", found["hint"], "hint", indent="    ")


def _end(instant: int, now: float) -> str:
    left = instant / _MICROSECONDS - now
    return f"expires in {span(int(left))}" if left >= 0 else f"expired {ago(instant, now)}"


def _date(instant: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(instant // _MICROSECONDS))
