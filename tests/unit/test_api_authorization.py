"""Who may call what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.api.authorization import AccessPolicy, may_use_endpoint
from sad.model.errors import NotPermitted
from sad.model.requests import Caller
from tests.support import make

POLICY = AccessPolicy(
    endpoint_uids=frozenset({1000}),
    control_uids=frozenset({2000}),
    control_gids=frozenset({20}),
    status_gids=frozenset({30}),
)


def caller(uid: int, gid: int = 99, *groups: int) -> Caller:
    return Caller(uid=uid, gid=gid, pid=1, groups=frozenset(groups))


@pytest.mark.parametrize(
    ("who", "reads", "controls"),
    [
        (caller(0), True, True),
        (caller(1000), True, False),
        (caller(2000), True, True),
        (caller(5, 20), True, True),
        (caller(5, 99, 1, 20), True, True),
        (caller(5, 30), True, False),
        (caller(5, 99, 30), True, False),
        (caller(5), False, False),
        (caller(20, 99, 1000, 2000), False, False),
        (caller(30, 0), False, False),
    ],
)
def test_looking_and_controlling(who: Caller, reads: bool, controls: bool) -> None:
    """Root and control: both. Endpoint users and status groups: looking. A gid is no uid."""
    assert (POLICY.may_read(who), POLICY.may_control(who)) == (reads, controls)
    for may, require in ((reads, POLICY.require_read), (controls, POLICY.require_control)):
        if may:
            require(who)
        else:
            with pytest.raises(NotPermitted, match=f"uid {who.uid} "):
                require(who)


@given(uid=st.integers(0, 5), uids=st.frozensets(st.integers(0, 5)))
def test_an_endpoint_is_used_by_its_own_uids_only(uid: int, uids: frozenset[int]) -> None:
    """Not even by root, and never by membership of a group."""
    endpoint = make.endpoint(uids=uids)

    assert may_use_endpoint(caller(uid, 0, *range(6)), endpoint) is (uid in uids)
    assert POLICY.may_use_endpoint(caller(uid), endpoint) is (uid in uids)


def test_an_empty_policy_lets_root_alone() -> None:
    """Nothing is open by default."""
    assert AccessPolicy().may_control(caller(0))
    assert not AccessPolicy().may_read(caller(1))
