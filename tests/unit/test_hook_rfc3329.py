"""The hook of profile rfc3329: credentials, settings, and what users paste."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import sip_hooks
from sip_hooks.kamailio.agreement_settings import read_agreement_settings
from sip_hooks.kamailio.credentials import Credentials, credentials_of, without
from sip_hooks.kamailio.settings import SettingError
from sip_hooks.secagree import parse_header
from sip_hooks.secagree.digest import Reading
from sip_hooks.secagree.profiles import Use

FOLDER = Path(sip_hooks.__file__).parent / "kamailio"
ROW = (
    'Digest username="alice", realm="example.org", nonce="n,1", uri="sip:example.org", '
    'qop=auth, nc=0000000a, cnonce="c", response="00"'
)
OTHER = ROW.replace("example.org", "example.net")
SETTINGS = {
    "socket": "/run/sad.sock",
    "endpoint": "access",
    "realm": "example.org",
    "timeout_ms": "200",
    "accept_tls": "0",
    "has_tls": "1",
    "dver": "either",
    "tls_seconds": "",
    "linger": "",
}


def test_credentials_are_those_of_our_realm() -> None:
    """RFC 3261 22.3: other rows are for proxies behind us, and go on."""
    expected = Credentials("alice", "sip:example.org", "n,1", "auth", "0000000a", "c", "MD5")

    assert credentials_of([ROW, OTHER], "example.org") == expected
    assert without([OTHER, ROW, "Bearer x"], "example.org") == (OTHER, "Bearer x")
    assert credentials_of([f"{ROW}, algorithm=SHA-256"], "example.org") == expected._replace(
        algorithm="SHA-256"
    )


@pytest.mark.parametrize(
    "row",
    [
        "",
        "Digest",
        ROW.replace("qop=auth, ", ""),  # nothing counts its nonce
        ROW.replace("nc=0000000a, ", ""),
        ROW.replace("0000000a", "a"),
        ROW.replace('cnonce="c", ', ""),
        ROW.replace('"alice"', '""'),
        ROW.replace("Digest", "Basic"),
        f'{ROW}, nonce="n2"',
        f"{ROW}, x",
        ROW.replace('"alice"', '"al\\"ice"'),
        ROW + "\x00",
        OTHER,
    ],
)
def test_credentials_that_two_readers_could_read_differently_are_none(row: str) -> None:
    """R3329-5-d: what cannot be read for certain, or counts no nonce, proves nothing."""
    assert credentials_of([row], "example.org") is None


def test_two_credentials_of_one_realm_are_none() -> None:
    """RFC 3261 22.3: one row for a realm; nobody can tell which of two was checked."""
    assert credentials_of([ROW, ROW], "example.org") is None


def test_the_settings_become_the_librarys_rules() -> None:
    """R3329-3-a, R3329-3-b, GAP-3."""
    settings = read_agreement_settings(SETTINGS.__getitem__)
    rules = settings.rules(required=False)

    assert (settings.timeout, rules.use, rules.accept_tls) == (0.2, Use.OPTIONAL, False)
    assert settings.has_tls
    assert (settings.tls_seconds, settings.linger) == (3600, 5)
    assert (rules.reading, rules.lenient) == (Reading.WITH_NAME, True)
    assert settings.rules(required=True).use is Use.REQUIRED


@pytest.mark.parametrize(
    ("has_tls", "listed", "fault"),
    [
        ("1", "tls;q=0.3, digest;q=0.2;d-qop=auth", None),
        ("0", "digest;d-qop=AUTH", None),
        ("0", "digest;q=0.2;d-qop=auth, TLS;q=0.1", "sad.has_tls is not 1: have Kamailio listen"),
        ("1", "tls;q=0.3, digest;q=0.2", "Kamailio checks digest with d-qop=auth only"),
        ("1", "digest;d-alg=MD5-sess;d-qop=auth", "Kamailio checks digest with d-alg=MD5 only"),
        ("1", "digest;d-qop=auth-int", "Kamailio checks digest with d-qop=auth only"),
    ],
)
def test_a_list_that_kamailio_cannot_keep_is_not_offered(
    has_tls: str, listed: str, fault: str | None
) -> None:
    """R3329-2.3.2-f: nothing is listed that nobody could start."""
    settings = read_agreement_settings((SETTINGS | {"has_tls": has_tls}).__getitem__)

    found = settings.fault_of(parse_header(listed))
    assert found is None if fault is None else fault in str(found)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("realm", " ", "sad.realm is not set"),
        ("timeout_ms", "0", "sad.timeout_ms is not a number of 1 to 60000"),
        ("timeout_ms", "1.5", "sad.timeout_ms is not a number of 1 to 60000"),
        ("dver", "both", "sad.dver is none of with-name, value-only, either"),
        ("tls_seconds", "0", "sad.tls_seconds is not a number of 1 to 604800"),
        ("linger", "129", "sad.linger is not a number of 1 to 128"),
    ],
)
def test_a_setting_that_is_wrong_is_named(name: str, value: str, reason: str) -> None:
    """Every request is refused until it is mended, and the log says why."""
    with pytest.raises(SettingError, match=reason):
        read_agreement_settings((SETTINGS | {name: value}).__getitem__)


@pytest.mark.parametrize(
    ("example", "switches"),
    [
        ("example-ims.cfg", []),
        ("example-ims.cfg", ["-A", "WITH_TLS"]),
        ("example-rfc3329.cfg", []),
        ("example-rfc3329.cfg", ["-A", "WITH_TLS"]),
        ("example-rfc3329.cfg", ["-A", "WITH_TLS", "-A", "WITH_CLIENT_CERTIFICATES"]),
    ],
)
def test_the_examples_are_well_formed(example: str, switches: list[str], tmp_path: Path) -> None:
    """README, Kamailio: ``kamailio -c`` takes what users paste, as it is shipped, and with TLS."""
    for path in FOLDER.glob("*.cfg"):
        shutil.copy(path, tmp_path)

    kamailio = shutil.which("kamailio", path=f"{os.environ['PATH']}:/usr/sbin")
    assert kamailio is not None
    done = subprocess.run(
        [kamailio, *switches, "-c", "-f", str(tmp_path / example)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
