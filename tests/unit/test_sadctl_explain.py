"""sadctl explain: a pasted header, without a daemon."""

import json
import tomllib

import pytest

from sad.ctl import arguments, explaining
from sad.ctl.__main__ import main
from tests.support.secagree_samples import VECTORS, offer
from tests.support.tree import ROOT

NOBODY = ["--socket", "/nonexistent"]


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["explain", *argv, *NOBODY])
    return code, *capsys.readouterr()


def explained(capsys: pytest.CaptureFixture[str], *argv: str) -> explaining.Explained:
    code, out, err = said(capsys, *argv, "--json")
    assert (code, err) == (0, "")
    result: explaining.Explained = json.loads(out)
    return result


def reasons(found: explaining.Explained) -> list[str]:
    return [fate.get("reason", "taken") for fate in found["elements"]]


def test_each_offer_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What is taken, and for each other one the reason, in words and with its rule (T33-7.2-a)."""
    header = f"Security-Client: {offer(alg='hmac-md5-96')}, {offer()}, tls"
    code, out, err = said(capsys, header)

    assert (code, err) == (0, "")
    assert out == (
        "Security-Client: 3 elements, number 2 is taken\n"
        " 1  ipsec-3gpp alg=hmac-md5-96 ealg=aes-cbc    withdrawn-algorithm  hmac-md5-96 with "
        "aes-cbc is withdrawn and not accepted here (T33-H-b)\n"
        " 2  ipsec-3gpp alg=hmac-sha-1-96 ealg=aes-cbc  taken\n"
        " 3  tls                                        mechanism-not-listed  tls is not in the "
        "server's list (R3329-2.3.1-h)\n"
    )


def test_the_rows_may_come_without_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Several rows are one list (R3261-7.3.1-b), Security-Client unless said otherwise."""
    found = explained(capsys, "tls", offer(), "security-CLIENT: digest")

    assert (found["header"], found.get("taken")) == ("Security-Client", 2)
    assert reasons(found) == ["mechanism-not-listed", "taken", "mechanism-not-listed"]


@pytest.mark.parametrize(
    ("options", "element", "reason"),
    [
        ([], offer(spi_c="100"), "reserved-spi"),
        (["--accept-reserved-spi"], offer(spi_c="100"), "taken"),
        ([], offer(alg="null", ealg="null"), "illegal-algorithm-pair"),
        (["--algorithms", "null/aes-gcm"], offer(alg="null", ealg="aes-gcm"), "taken"),
        (
            ["--algorithms", "hmac-sha-256-128/aes-cbc", "--accept-extensions"],
            offer(alg="hmac-sha-256-128"),
            "taken",
        ),
        ([], offer(port_s="5060"), "sip-port"),
        (["--accept-sip-port"], offer(port_s="5060"), "taken"),
        (["--algorithms", "hmac-sha-1-96/null"], offer(), "algorithm-not-listed"),
        (
            ["--algorithms", "hmac-md5-96/null, hmac-sha-1-96/null", "--accept-withdrawn"],
            offer(alg="hmac-md5-96", ealg="null"),
            "taken",
        ),
        (["--list", "ipsec-ike;q=0.2, tls;q=0.1"], "tls", "taken"),
        (["--list", "ipsec-ike;q=0.2, tls;q=0.1"], offer(), "mechanism-not-listed"),
    ],
)
def test_the_endpoints_settings_are_options(
    capsys: pytest.CaptureFixture[str], options: list[str], element: str, reason: str
) -> None:
    """Preferences, switches, and the static list of profile rfc3329 (R3329-2.3.1-h)."""
    assert reasons(explained(capsys, element, *options)) == [reason]


def test_the_default_pairs_are_those_of_the_shipped_settings() -> None:
    """sad.toml shows every default; this command must not know others."""
    lines = (ROOT / "systemd/sad.toml").read_text().splitlines()
    (line,) = [line[1:] for line in lines if line.startswith("#algorithms = ")]

    assert tuple(tomllib.loads(line)["algorithms"]) == arguments.ALGORITHMS


@pytest.mark.parametrize(
    ("options", "taken", "fates"),
    [
        ([], None, ["algorithm-missing"]),
        (["--list", "tls"], None, ["algorithm-missing"]),
    ],
)
def test_a_server_list_is_judged_as_a_client_does(
    capsys: pytest.CaptureFixture[str], options: list[str], taken: int | None, fates: list[str]
) -> None:
    """A real network's 494 gives nothing to start with (INTEROP-3)."""
    found = explained(capsys, "Security-Server: ipsec-3gpp ; q=0.1", *options)

    assert (found.get("taken"), reasons(found)) == (taken, fates)


def test_digest_and_ike_of_a_server_list_can_be_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a header cannot show, a challenge and an address, is taken to be there."""
    for name in ("digest", "ipsec-ike", "tls"):
        assert reasons(explained(capsys, f"Security-Verify: {name}", "--list", name)) == ["taken"]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["tls;;q=1"], 1, "row 0 position 4: a parameter is missing (R3329-2.2-a)"),
        (["tls", "digest;q=2"], 1, "row 1 position 7: q must be 0 to 1"),
        (
            ["Security-Client: tls", "Security-Server: tls"],
            2,
            "Security-Client and Security-Server are two headers",
        ),
        (["tls", "--algorithms", "rot13/null"], 2, "rot13/null is unknown (T33-H-a)"),
        (["tls", "--list", "tls, digest"], 2, "a mechanism has no q"),
        (["Security-Server: tls", "--list", "tls, foo"], 2, "the mechanism 'foo' is not known"),
        (["Security-Server: tls", "--list", "tls;a;a"], 2, "the parameter 'a' stands twice"),
        (["Security-Verify: tls", "--list", "ipsec-3gpp"], 2, "alg is mandatory (R3329-A-a)"),
    ],
)
def test_what_cannot_be_explained_is_a_failure_with_a_way_out(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    """A syntax error is a result, wrong options are usage; standard output stays clean."""
    ended, out, err = said(capsys, *argv)

    assert (ended, out) == (code, "")
    assert err.startswith(f"sadctl: {message}")
    assert "\nhint: " in err


def test_a_hostile_header_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """A quoted value may hold any byte but line ends; what is shown is printable."""
    _, out, _ = said(capsys, 'ipsec-3gpp;alg="\\\x1b[2J";ealg="\\\x07"')

    assert "\x1b" not in out
    assert "\x07" not in out


def test_every_real_header_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """All of the corpus: an explanation, or a syntax error where the vectors expect one."""
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    codes = [said(capsys, line)[0] for line in lines if line.startswith("Security-")]

    assert len(codes) == 64
    assert codes.count(1) == sum(line.startswith("# -> syntax error") for line in lines)
