"""Which lane is taken, from what was found; no kernel is asked here."""

import pytest

from tests.lane.decision import Choice, Finding, Lane, LaneError, choose_lane, read_verdict

ESP = Finding(release="6.1.0", refusal="")
NO_ESP = Finding(release="6.18.44", refusal="has no ESP: EPROTONOSUPPORT")
UML = "/usr/bin/linux.uml"


def test_lane_auto_prefers_the_running_kernel() -> None:
    """A host with ESP needs no guest, and says so."""
    choice = choose_lane(None, ESP, UML)

    assert choice == Choice(lane=Lane.HOST, reason="host kernel 6.1.0 has ESP")


def test_lane_auto_boots_a_guest_without_esp_and_says_why() -> None:
    """The reason names the kernel and its own error."""
    choice = choose_lane(None, NO_ESP, UML)

    assert str(choice) == "lane: uml (host kernel 6.18.44 has no ESP: EPROTONOSUPPORT)"


def test_lane_uml_can_be_asked_for_beside_a_host_with_esp() -> None:
    """A wish for UML is granted."""
    assert choose_lane(Lane.UML, ESP, UML).lane is Lane.UML


@pytest.mark.parametrize(
    ("wanted", "finding", "binary", "told"),
    [
        (None, NO_ESP, None, r"EPROTONOSUPPORT.*not installed: make setup"),
        (Lane.HOST, NO_ESP, UML, r"EPROTONOSUPPORT.*LANE=auto"),
        (Lane.UML, ESP, None, r"not installed: make setup"),
    ],
)
def test_lane_that_cannot_run_is_an_error_with_a_way_out(
    wanted: Lane | None, finding: Finding, binary: str | None, told: str
) -> None:
    """Nothing is skipped, and a lane that was asked for is never replaced by another."""
    with pytest.raises(LaneError, match=told):
        choose_lane(wanted, finding, binary)


NO_NAMESPACE = "gives this user no network namespace of its own: "


@pytest.mark.parametrize(
    ("status", "output", "errors", "refusal"),
    [
        (0, "esp: ok\n", "", ""),
        (0, "noise\nesp: EPROTO (adding an SA)\n", "", "has no ESP: EPROTO (adding an SA)"),
        (1, "", "unshare: not permitted\n", f"{NO_NAMESPACE}unshare: not permitted"),
        (9, "", "", f"{NO_NAMESPACE}exit status 9"),
        (1, "esp: ok\n", "late failure\n", f"{NO_NAMESPACE}late failure"),
    ],
)
def test_lane_verdict_of_the_probe_is_read(
    status: int, output: str, errors: str, refusal: str
) -> None:
    """Only a probe that ran to its end and said ok counts as ESP."""
    assert read_verdict(status, output, errors) == refusal
