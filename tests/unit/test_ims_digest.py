"""Credentials and challenges of Digest AKA: whose they are, what marks them, what they lose."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.ims import (
    DigestError,
    mark_integrity,
    nonce_of,
    private_identity,
    take_keys,
)

IK = "0123456789abcdef0123456789ABCDEF"
CK = "fedcba9876543210fedcba9876543210"
NONCE = "pPFj0L4ZPyUt4c/w7mP0A7vYAAAh8zPvcw=="
CREDENTIALS = (
    'Digest username="001010000000001@ims.example", realm="ims.example", nonce="{}", '
    'uri="sip:ims.example", response="{}", algorithm=AKAv1-MD5'
)
CHALLENGE = f'Digest realm="ims.example",nonce="{NONCE}",algorithm=AKAv1-MD5,qop="auth,auth-int"'

# --- credentials ---------------------------------------------------------------------------------


def test_the_private_identity_is_the_username() -> None:
    """The empty credentials of the first REGISTER already name it (T24-UE-1)."""
    assert private_identity([CREDENTIALS.format("", "")]) == "001010000000001@ims.example"
    assert private_identity(['dIgEsT\r\n\tUserName = "é@x"']) == "é@x"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [CREDENTIALS.format("", "")] * 2,
        [""],
        ["Digest"],
        ['Digest"x"'],
        ['Basic username="a@b"'],
        ['Digest realm="a@b"'],
        ['Digest username=""'],
        ["Digest username=alice"],
        ['Digest username="' + "a" * 257 + '"'],
        ['Digest username="a@b ",realm="r"'],
        ['Digest username="a\tb"'],
        ['Digest username="a\u200bb@c"'],
        ['Digest username="a\u00a0b@c"'],
        ['Digest username="a@b", USERNAME="c@d"'],
        ["Digest username=\"a@b\", username*=UTF-8''c%40d"],
        ['Digest username="a@b", Digest username="c@d"'],
        ['Digest username="a@b" realm="x"'],
        ['Digest username="a@b"x"c@d"'],
        ['Digest username="a@b"; realm="x"'],
        ['Digest username="a@b",'],
        ['Digest username="a@b",,realm="x"'],
        ['Digest username="a@b",realm='],
        ['Digest username="a@b",realm="x'],
        ['Digest username="a@b",="x"'],
        [r'Digest username="a\@b"'],
    ],
)
def test_credentials_that_name_nobody_or_two_are_refused(rows: list[str]) -> None:
    """One Authorization, one username, read by everybody alike (T24-P-4)."""
    with pytest.raises(DigestError):
        private_identity(rows)


@pytest.mark.parametrize(
    "smuggled",
    [
        r'nonce="a\", integrity-protected=yes, x=\"b"',
        r'nonce="a\", username="c@d"',
        'x-integrity-protected="yes"',
        'Integrity-Protected2="yes"',
        'opaque="integrity-protected=yes"',
        'uri="sip:INTEGRITY-PROTECTED y"',
    ],
)
def test_what_a_registrar_could_read_as_protection_is_refused(smuggled: str) -> None:
    """Only the P-CSCF says integrity-protected (T33-6.1-a).

    Registrars in use end a quoted string at any quote, and search the row for the name.
    """
    row = f'Digest username="a@b", {smuggled}'

    with pytest.raises(DigestError):
        private_identity([row])
    with pytest.raises(DigestError):
        mark_integrity(row, protected=False)


def test_the_nonce_is_read_from_credentials() -> None:
    """An answer names its challenge's nonce (T33-6.1-a)."""
    assert nonce_of(CREDENTIALS.format(NONCE, "ab")) == NONCE
    assert nonce_of('Digest username="a"') == ""


NAMES = st.sampled_from(
    ["username", "realm", "nonce", "uri", "response", "algorithm", "x", "cnonce"]
)
CONTENTS = st.text(
    st.characters(codec="utf-8", exclude_characters='"\\', categories=["L", "N", "P"])
)
PARAMETERS = st.lists(
    st.tuples(NAMES, CONTENTS.map(lambda text: f'"{text}"') | st.just("AKAv1-MD5")),
    unique_by=lambda pair: pair[0],
    max_size=6,
)
MARKS = st.lists(
    st.tuples(
        st.sampled_from(["integrity-protected", "Integrity-Protected", "INTEGRITY-PROTECTED"]),
        st.sampled_from(["yes", "no", '"yes"', '"ip-assoc-yes"', r'"\y"', '""']),
    ),
    max_size=3,
)


@given(PARAMETERS, MARKS, st.randoms(use_true_random=False), st.booleans())
def test_the_mark_is_the_last_parameter_and_the_only_one_of_its_name(
    parameters: list[tuple[str, str]],
    marks: list[tuple[str, str]],
    shuffler: Random,
    protected: bool,
) -> None:
    """Whatever a UE wrote of it goes, everything else stays as written (T33-6.1-a, T24-P-1)."""
    written = [f"{name}={value}" for name, value in parameters]
    added = [f"{name} = {value}" for name, value in marks]
    every = [*written, *added]
    shuffler.shuffle(every)
    if not every:
        every = added = ["integrity-protected=yes"]
    kept = [text for text in every if text not in added]

    marked = mark_integrity("Digest " + " , ".join(every), protected=protected)

    answer = "yes" if protected else "no"
    assert marked == "Digest " + ", ".join([*kept, f'integrity-protected="{answer}"'])
    assert mark_integrity(marked, protected=protected) == marked
    assert marked.lower().count("integrity-protected") == 1


# --- challenges ----------------------------------------------------------------------------------


def test_keys_are_taken_and_the_rest_stays() -> None:
    """CK and IK go to the daemon, the UE gets what is left (T33-7.2-d)."""
    taken = take_keys([f'{CHALLENGE},ck="{CK}",ik="{IK}"'])

    assert (taken.integrity_key, taken.cipher_key) == (IK.lower(), CK)
    assert (taken.nonce, taken.algorithm) == (NONCE, "AKAv1-MD5")
    assert taken.clean == CHALLENGE.replace('",', '", ').replace("MD5,", "MD5, ")
    assert IK.lower() not in repr(taken).lower()
    assert CK not in repr(taken)


def test_a_challenge_without_keys_passes_without_them() -> None:
    """Whether ik is needed is the caller's to say; ck alone is a mistake of the core."""
    assert take_keys([CHALLENGE]).integrity_key is None
    assert take_keys([f"{CHALLENGE}, ik={IK}"]).cipher_key is None
    with pytest.raises(DigestError, match="ck without ik"):
        take_keys([f"{CHALLENGE}, ck={CK}"])


CASES = st.lists(st.booleans(), min_size=32, max_size=32)


def in_case(text: str, upper: list[bool]) -> str:
    return "".join(c.upper() if up else c.lower() for c, up in zip(text, upper, strict=False))


def writing(name: str, key: str) -> st.SearchStrategy[str]:
    """Return ways to write a parameter that holds a key."""
    equal = st.sampled_from(["=", " = ", "\t=", "=\r\n ", "\r\n\t=\n "])
    escaped = "".join("\\" + c for c in key)
    value = CASES.map(lambda upper: in_case(key, upper))
    value = value.flatmap(lambda text: st.sampled_from([text, f'"{text}"', f'"{escaped}"']))
    return st.tuples(CASES.map(lambda upper: in_case(name, upper)), equal, value).map("".join)


OTHERS = st.lists(
    st.sampled_from(
        [
            'realm="ims.example"',
            'qop="auth,auth-int"',
            "algorithm=AKAv1-MD5",
            'opaque="a\\"b, ck=c"',
            'domain="<sip:a>;ik=1"',
            "stale=FALSE",
        ]
    ),
    unique=True,
)


@given(
    OTHERS,
    st.lists(writing("ik", IK), min_size=1, max_size=3),
    st.lists(writing("ck", CK), max_size=3),
    st.randoms(use_true_random=False),
    st.sampled_from([",", ", ", " ,\t", ",\r\n "]),
    st.sampled_from(["Digest ", "digest\r\n ", "DIGEST\t"]),
)
def test_however_keys_are_written_none_is_left(
    others: list[str],
    iks: list[str],
    cks: list[str],
    shuffler: Random,
    comma: str,
    scheme: str,
) -> None:
    """Order, case, quotes, escapes, repetition and folds change nothing (T33-7.2-d, INTEROP-9)."""
    kept = [*others, f'nonce="{NONCE}"']
    shuffler.shuffle(kept)
    every = [*kept, *iks, *cks]
    shuffler.shuffle(every)
    kept = [text for text in every if text in kept]

    taken = take_keys([scheme + comma.join(every)])

    assert taken.integrity_key == IK.lower()
    assert taken.cipher_key == (CK if cks else None)
    assert taken.clean == "Digest " + ", ".join(kept)
    assert IK.lower() not in taken.clean.lower()
    assert CK not in taken.clean.lower()
    again = take_keys([taken.clean])
    assert (again.clean, again.nonce) == (taken.clean, NONCE)
    assert (again.integrity_key, again.cipher_key) == (None, None)


@pytest.mark.parametrize(
    "added",
    [
        'ik=""',
        "ik=12",
        f"ik={IK}0",
        f'ik=" {IK}"',
        f"ik=0x{IK[2:]}",
        f"ik={IK}, ik={CK}",
        f"ik={IK}, opaque={IK}",
        f'ik={IK}, opaque="x{IK.upper()}x"',
        f'ik={IK}, opaque="\\{IK}"',
        f'ik={IK}, ck={CK}, opaque="{CK[:16]}\\{CK[16:]}"',
        f'ik={IK}, x-{CK}=1, ck="{CK}"',
        f"ik={IK}, nonce=2",
        f"ik={IK}; ck={CK}",
        f"ik={IK} ck={CK}",
        f'ik="{IK}"ck="{CK}"',
        f"Digest ik={IK}",
        f"ik={IK},",
    ],
)
def test_a_challenge_whose_keys_are_in_doubt_does_not_pass(added: str) -> None:
    """Without their removal the 401 is not forwarded (T33-7.2-d); the error shows no key."""
    with pytest.raises(DigestError) as caught:
        take_keys([f"{CHALLENGE}, {added}"])
    for shown in (str(caught.value), repr(caught.value)):
        assert IK[:8].lower() not in shown.lower()
        assert CK[:8] not in shown.lower()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [CHALLENGE, CHALLENGE],
        [f"Digest ik={IK}, ck={CK}"],
        [f'Digest nonce="", ik={IK}'],
        [f"{CHALLENGE}, {CHALLENGE}"],
        [f'Basic realm="x", nonce="y", ik={IK}'],
    ],
)
def test_a_401_has_one_challenge_that_can_be_answered(rows: list[str]) -> None:
    """A second one, or one without a nonce, is nothing to make an SA set for (T24-P-6)."""
    with pytest.raises(DigestError):
        take_keys(rows)
