"""What holds for every function of sip_hooks.ims: only ImsError, no content in it, no waiting."""

import ast
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sip_hooks.ims
from sip_hooks import ims
from sip_hooks.ims import ImsError
from tests.support.effort import at_most

PACKAGE = Path(sip_hooks.ims.__file__).parent
ROOT = PACKAGE.parent.parent
OWN = ("sip:alice@ims.example",)

FUNCTIONS: dict[str, Callable[[str], object]] = {
    "aor_of": ims.aor_of,
    "asserted": lambda row: ims.asserted([row], row, (row, *OWN)),
    "ended_aors": lambda row: ims.ended_aors(
        "application/reginfo+xml", row.encode("utf-8", "replace")
    ),
    "ended_aors of a type": lambda row: ims.ended_aors(row, b""),
    "flow_key": lambda row: ims.flow_key(row, 1, 2),
    "granted_seconds": lambda row: ims.granted_seconds(
        ue_contact=[row], contact_rows=[row, row], expires_row=row
    ),
    "granted_seconds of a 200": lambda row: ims.granted_seconds(
        ue_contact=["sip:a@b"], contact_rows=[row], expires_row=None
    ),
    "has_one_via": lambda row: ims.has_one_via([row]),
    "host_of": ims.host_of,
    "is_address": ims.is_address,
    "is_at": lambda row: ims.is_at(row, (row,), 5060),
    "is_one_of": lambda row: ims.is_one_of(row, (row, *OWN)),
    "is_own_route": lambda row: ims.is_own_route(row, (row,), 5060),
    "mark_integrity": lambda row: ims.mark_integrity(row, protected=True),
    "mark_integrity_as": lambda row: ims.mark_integrity_as(row, "tls-yes"),
    "nonce_of": ims.nonce_of,
    "private_identity": lambda row: ims.private_identity([row]),
    "public_identities": lambda row: ims.public_identities([row], row),
    "read_token": ims.read_token,
    "registration_token": lambda row: ims.registration_token(row, 1, row, 2),
    "route_user": ims.route_user,
    "same_routes": lambda row: ims.same_routes([row], (row,)),
    "service_route": lambda row: ims.service_route([row]),
    "take_keys": lambda row: ims.take_keys([row]),
    "transport_of": ims.transport_of,
    "values_of": lambda row: ims.values_of([row]),
    "via_address": ims.via_address,
    "via_branch": ims.via_branch,
    "via_host": ims.via_host,
    "FlowEntry": ims.FlowEntry.from_text,
    "RegistrationEntry": ims.RegistrationEntry.from_text,
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)

STARTS = st.sampled_from(
    ["", "Digest ", 'Digest username="', "<sip:", "sip:a@", "SIP/2.0/UDP ", "tel:+1", "r", "[["]
)
PIECES = st.lists(
    st.sampled_from(
        [
            *'"\\<>;,:@?=%[]{}() \t\r\n\0*',
            "\r\n ",
            "a",
            "0",
            "%41",
            "é",
            "\ud800",
            "sip:",
            "expires=",
        ]
    ),
    max_size=20,
).map("".join)


def error_of(name: str, text: str) -> ImsError | None:
    try:
        FUNCTIONS[name](text)
    except ImsError as error:
        return error
    return None


@each_function
def test_every_function_stands_here(name: str) -> None:
    """A function added to the package is judged by these promises too."""
    classes = {"ChallengeKeys", "DigestError", "ImsError"}
    named = {name.split()[0] for name in FUNCTIONS}

    assert named | classes == set(ims.__all__)
    assert name.split(maxsplit=1)[0] in ims.__all__


@each_function
@given(start=STARTS, rest=st.text() | PIECES)
def test_bad_text_ends_in_an_ims_error_or_not_at_all(name: str, start: str, rest: str) -> None:
    """No text that a peer can write is a defect of ours."""
    error = error_of(name, start + rest)

    assert error is None or str(error).isascii()


MARKER = "Xq7zMarker"
BAD = [
    f"Digest username={MARKER}",
    f'Digest username="{MARKER}", username="{MARKER}"',
    f'Digest nonce="n", ik="{MARKER}"',
    f'Digest nonce="n", {MARKER}="1", {MARKER}="2"',
    f"Digest {MARKER}",
    f"{MARKER} a=b",
    f'"{MARKER}',
    f"<{MARKER}",
    f"<{MARKER}:x@y>",
    f"<sip:{MARKER}@@y>",
    f"<sip:a@[{MARKER}]>",
    f"<sip:a@1.2.3.{MARKER}.4>",
    f"<sip:a@b>;expires={MARKER}",
    f"<sip:a@b>{MARKER}",
    f"sip:{MARKER},b@c",
    f"tel:+{MARKER}",
    f"<reginfo>&{MARKER};</reginfo>",
    f"<{MARKER}/>",
    f"{MARKER}\0",
]


@each_function
@pytest.mark.parametrize("row", BAD)
def test_an_error_shows_nothing_of_the_header(name: str, row: str) -> None:
    """Errors go to logs; keys, identities and whatever else a header holds do not."""
    error = error_of(name, row)

    if error is not None:
        assert MARKER.lower() not in "".join(traceback.format_exception(error)).lower()


UNITS = [
    *'"\\<>;,:@?=%[] \t*a0',
    '\\"',
    '"\\',
    "\r\n ",
    "a,",
    ";a",
    ";a=b",
    "a=b,",
    "%41",
    "<a>",
    "<sip:a@b>,",
    " ck",
    "ck ",
    "a.",
    "a@",
]


@each_function
@pytest.mark.parametrize(
    "start", ["", "Digest a=", "<sip:", '"', "SIP/2.0/UDP a", "tel:+", "sip:"]
)
def test_work_grows_with_the_length_of_the_text(name: str, start: str) -> None:
    """16 KiB of each of these take moments together: no text holds a worker."""
    with at_most(yardsticks=25):
        for unit in UNITS:
            row = start + unit * ((16 * 1024 - len(start)) // len(unit))
            error_of(name, row)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from sip_hooks import ims
assert ims.aor_of("<sip:a@B>") == "sip:a@b"
assert ims.read_token(ims.registration_token("10.0.0.1", 1, "10.0.0.2", 2)) is not None
print(sorted({"asyncio", "socket", "ssl", "subprocess", "threading"} & set(sys.modules)))
"""


def test_the_system_interpreter_runs_it_without_any_package() -> None:
    """Standard library only: no site-packages, no environment, no network."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-W", "error", "-c", SCRIPT, str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[]\n")


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_9(path: Path) -> None:
    """SIP servers of older distributions embed Python 3.9."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_an_error_says_what_and_by_which_clause() -> None:
    """The rule stands behind the reason, where there is one."""
    assert str(ImsError("no", "T24-P-4")) == "no [T24-P-4]"
    assert str(ims.DigestError("no")) == "no"
