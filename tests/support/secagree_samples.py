"""Shared material for the tests of sip_hooks.secagree: policies, a plain offer, strategies."""

import string
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from sip_hooks.secagree import Parameter, SecMechanism, ServerPolicy

VECTORS: Final = Path(__file__).parent.parent / "vectors" / "security-headers.txt"

MODERN: Final = (("hmac-sha-1-96", "aes-cbc"), ("hmac-sha-1-96", "null"))
WITHDRAWN: Final = (
    ("hmac-md5-96", "aes-cbc"),
    ("hmac-md5-96", "null"),
    ("hmac-sha-1-96", "des-ede3-cbc"),
    ("hmac-md5-96", "des-ede3-cbc"),
)
POLICIES: Final = {
    "default": ServerPolicy(MODERN),
    "legacy": ServerPolicy(MODERN + WITHDRAWN, accept_withdrawn=True),
    "open": ServerPolicy(
        MODERN + WITHDRAWN,
        accept_withdrawn=True,
        accept_reserved_spi=True,
        accept_sip_port=True,
    ),
}


def offer(**changes: str | None) -> str:
    """An ipsec-3gpp element that every policy above takes; None leaves a parameter out."""
    parameters: dict[str, str | None] = {
        "alg": "hmac-sha-1-96",
        "ealg": "aes-cbc",
        "spi-c": "25656",
        "spi-s": "25657",
        "port-c": "6301",
        "port-s": "6300",
    }
    parameters.update({name.replace("_", "-"): value for name, value in changes.items()})
    given = (f"{name}={value}" for name, value in parameters.items() if value is not None)
    return ";".join(("ipsec-3gpp", *given))


_token = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
_quotable = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"), max_size=12
)
_ipv6 = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
_free_name = _token.filter(lambda name: name.lower() not in {"q", "d-alg", "d-qop", "d-ver"})

_generic = st.one_of(
    st.tuples(_free_name, st.none(), st.just(False)),
    st.tuples(_free_name, st.one_of(_token, _ipv6), st.just(False)),
    st.tuples(_free_name, _quotable, st.just(True)),
)
_ruled = st.one_of(
    st.tuples(
        st.sampled_from(["q", "Q"]), st.sampled_from(["0", "0.", "0.5", "1.000"]), st.just(False)
    ),
    st.tuples(
        st.just("d-ver"), st.text("0123456789abcdef", min_size=32, max_size=32), st.just(True)
    ),
    st.tuples(st.sampled_from(["d-alg", "d-qop"]), _token, st.just(False)),
)
parameters: st.SearchStrategy[Parameter] = st.one_of(_generic, _ruled)
mechanisms: st.SearchStrategy[SecMechanism] = st.builds(
    SecMechanism, _token, st.lists(parameters, max_size=6)
)
mechanism_lists: st.SearchStrategy[list[SecMechanism]] = st.lists(
    mechanisms, min_size=1, max_size=6
)
