"""Status, rows, events and results as people see them."""

from sad.ctl import render
from sad.ctl.sheet import Sheet
from tests.support.ctl_samples import (
    LONG_ADDRESS,
    LONG_IMPI,
    NOW,
    association,
    ipsec3gpp,
    status,
)

TERMINAL = Sheet(columns=80)


def text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def test_status_of_a_sound_daemon() -> None:
    """State, age, associations by state, endpoints; nothing about what is empty."""
    expected = """\
sad: ready
  version: 0.1.0
  started: 2 hours, 1 minute ago
  associations: 12 (1 temporary, 11 in use)

endpoint: access
  addresses: 10.10.0.1, 2001:db8:1::1
  server port: 5064
  client ports: 5068-5071
  algorithms: hmac-sha-1-96/aes-cbc, hmac-sha-1-96/null
  associations: 12

pools:
  associations: 12 of 200000
  SPIs of access: 24 of 1000 (2 %)
"""

    assert text(render.status_lines(status(), TERMINAL, NOW)) == expected


def test_status_of_a_daemon_in_trouble() -> None:
    """The last problem with its hint, what was mended, what the kernel dropped and why (K12)."""
    endpoint = status()["endpoints"][0]
    endpoint["unavailable"] = ["hmac-sha-1-96/aes-cbc"]
    reply = status(
        endpoints=[endpoint],
        kernelCounters=[
            {"name": "XfrmInPolBlock", "value": 4},
            {"name": "XfrmFwdHdrError", "value": 1},
        ],
        lastReconcile={
            "at": 1_700_000_000_000_000,
            "reason": "schedule",
            "adopted": 0,
            "repaired": 2,
            "removed": 0,
            "ended": 1,
        },
        lastProblem="the journal cannot be written: disk full",
        lastProblemAt=1_700_000_030_000_000,
        lastProblemHint="make room in /run",
    )
    expected = """\
sad: ready
  version: 0.1.0
  started: 2 hours, 1 minute ago
  associations: 12 (1 temporary, 11 in use)
  last reconcile: 1 minute, 5 seconds ago (schedule): 2 repaired, 1 ended
  last problem: 35 seconds ago: the journal cannot be written: disk full
  hint: make room in /run

endpoint: access
  addresses: 10.10.0.1, 2001:db8:1::1
  server port: 5064
  client ports: 5068-5071
  algorithms: hmac-sha-1-96/aes-cbc, hmac-sha-1-96/null
  unavailable: hmac-sha-1-96/aes-cbc (this kernel lacks them)
  associations: 12

pools:
  associations: 12 of 200000
  SPIs of access: 24 of 1000 (2 %)

kernel counters:
  XfrmInPolBlock: 4 (clear text to protected ports was dropped)
  XfrmFwdHdrError: 1
"""

    assert text(render.status_lines(reply, TERMINAL, NOW)) == expected


def test_status_tells_what_user_agents_of_an_endpoint_are_told() -> None:
    """GAP-1, R3329-3-a: the static list of profile rfc3329, and whether one may do without."""
    endpoint = status()["endpoints"][0]
    endpoint["profile"], endpoint["securityServer"] = "rfc3329", "digest;q=0.2;d-qop=auth"

    lines = render.status_lines(status(endpoints=[endpoint]), TERMINAL, NOW)
    assert "  profile: rfc3329, security required" in lines
    assert "  list: digest;q=0.2;d-qop=auth" in lines
    endpoint["required"] = False
    lines = render.status_lines(status(endpoints=[endpoint]), TERMINAL, NOW)
    assert "  profile: rfc3329, security optional" in lines


def test_status_without_endpoints_says_what_that_means() -> None:
    """An empty configuration is no silent one."""
    lines = render.status_lines(status(endpoints=[], associations=[]), TERMINAL, NOW)

    assert lines[3] == "  associations: 0"
    assert lines[5] == "no endpoint is configured: nothing can be installed"


def test_a_pool_that_runs_short_is_a_warning_from_80_percent() -> None:
    """K9: nobody has to find out from failing registrations."""

    def shown(used: int, size: int) -> list[str]:
        pools = [{"name": "SPIs", "endpoint": "access", "used": used, "size": size}]
        lines = render.status_lines(status(pools=pools), Sheet(), NOW)
        return lines[lines.index("pools:") + 1 :]

    assert shown(799, 1000) == ["  SPIs of access: 799 of 1000 (79 %)"]
    assert shown(800, 1000) == [
        "  SPIs of access: 800 of 1000 (80 %)",
        "    hint: soon nobody new finds room: raise the limit, or find out who needs so many",
    ]


def test_associations_are_counted_by_mechanism_where_there_are_several() -> None:
    """And all together first."""
    counts = [
        {"mechanism": "tls", "state": "inUse", "count": 2},
        {"mechanism": "ipsec-3gpp", "state": "inUse", "count": 1},
        {"mechanism": "ipsec-3gpp", "state": "temporary", "count": 3},
    ]
    lines = render.status_lines(status(associations=counts), Sheet(), NOW)

    assert lines[3:6] == [
        "  associations: 6 (3 in use, 3 temporary)",
        "    ipsec-3gpp: 4 (1 in use, 3 temporary)",
        "    tls: 2 (2 in use)",
    ]


def test_status_may_leave_out_what_is_null() -> None:
    """A nullable field that is missing is the same as null (the interface language says so)."""
    reply = status()
    del reply["lastReconcile"], reply["lastProblem"], reply["lastProblemHint"]

    assert render.status_lines(reply, TERMINAL, NOW) == render.status_lines(
        status(), TERMINAL, NOW
    )


def test_a_row_in_a_pipe_is_one_line() -> None:
    """One association, one line: for grep."""
    expected = (
        "f3a91c0b7e21  in use       expires in 9 min 12 s   access  10.10.0.2        "
        "001010000000001@ims.example"
    )

    assert render.row_lines(association(), Sheet()) == [expected]


def test_a_row_folds_at_80_columns_and_keeps_everything() -> None:
    """The longest address and identity fit a narrow terminal, whole."""
    long = association(
        ipsec3gpp=ipsec3gpp(ueAddress=LONG_ADDRESS),
        registration={"privateIdentity": LONG_IMPI, "publicIdentities": []},
    )
    expected = f"""\
f3a91c0b7e21  in use       expires in 9 min 12 s   access
    {LONG_ADDRESS}
    {LONG_IMPI}
"""

    assert text(render.row_lines(long, TERMINAL)) == expected


def test_a_row_shows_the_other_side() -> None:
    """For role ue the peer is the P-CSCF; a mechanism without addresses shows a dash."""
    assert render.peer_address(association()) == "10.10.0.2"
    assert render.peer_address(association(role="ue")) == "10.10.0.1"
    assert render.peer_address(association(mechanism="digest", ipsec3gpp=None)) == "-"


def test_a_row_of_an_ended_association_says_why() -> None:
    """The reason stands where the time left stood."""
    row = render.row_lines(association(state="ended", endReason="kernelLost"), Sheet())[0]

    assert "ended        the kernel lost it" in row
    assert "expires" not in row


def test_a_state_of_a_later_version_shows_as_it_is() -> None:
    """A newer daemon's words are not hidden."""
    assert "  suspended  " in render.row_lines(association(state="suspended"), Sheet())[0]


def test_events_are_rows_with_a_time() -> None:
    """added, changed, ended with their association; ready and resync with their meaning."""
    stamp = "2026-11-24 10:32:01"
    about = association(state="ended", endReason="expired")
    ended = (
        "2026-11-24 10:32:01  ended    f3a91c0b7e21  ended        expired                 access"
        "  10.10.0.2        001010000000001@ims.example"
    )

    assert render.event_lines({"event": "ended", "association": about}, Sheet(), stamp) == [ended]
    assert render.event_lines({"event": "ready", "association": None}, Sheet(), stamp) == [
        "2026-11-24 10:32:01  ready    that is all there is; what follows are changes"
    ]
    assert render.event_lines({"event": "resync"}, Sheet(), stamp) == [
        "2026-11-24 10:32:01  resync   changes may have been missed: all over again"
    ]
    assert render.event_lines({"event": "novelty"}, Sheet(), stamp) == [
        "2026-11-24 10:32:01  novelty"
    ]


def test_a_release_names_what_it_released() -> None:
    """One row each and their number."""
    released = association(state="ended", endReason="released")

    assert render.released_lines({"associations": [released]}, Sheet()) == [
        *render.row_lines(released, Sheet()),
        "1 association released",
    ]
    assert render.released_lines({"associations": []}, Sheet()) == ["0 associations released"]


def test_a_reconcile_says_what_it_did() -> None:
    """Only what happened; nothing is said as such."""
    nothing = {"at": 1, "reason": "x", "adopted": 0, "repaired": 0, "removed": 0, "ended": 0}

    assert render.reconcile_lines({"reconcile": nothing}, Sheet()) == [  # type: ignore[typeddict-item]  # a plain dict
        "reconcile: nothing to mend"
    ]
    assert render.reconcile_lines(
        {"reconcile": nothing | {"removed": 3, "adopted": 1}},  # type: ignore[typeddict-item]  # as above
        Sheet(),
    ) == ["reconcile: 1 adopted, 3 removed"]
