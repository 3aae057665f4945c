"""Inserts stay as cheap as the first ones, however the user agents' addresses and SPIs lie."""

from collections.abc import Callable, Iterator

import pytest

from sad.model.rules import Limits
from sip_hooks.client import CallError
from tests.support.daemon import Daemon
from tests.support.insert_cost import Case, cases, edge, empty, install, quarters

TOLERATED = 1.5
BOUND = Limits().max_sets_per_address_pair
#: A busy machine may spoil one; what is linear spoils all.
ATTEMPTS = 3


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with edge(tmp_path_factory.mktemp("cost")) as found:
        yield found


@pytest.mark.parametrize("case", cases(2000, BOUND), ids=lambda case: case.name)
@pytest.mark.timeout(1800)
def test_soak_the_last_inserts_cost_as_the_first(
    daemon: Daemon, say: Callable[[str], None], case: Case
) -> None:
    """Design 7: random reqids, exact selectors; the last quarter at most 1.5 times the first."""
    ratios = []
    for _ in range(ATTEMPTS):
        spans = quarters(daemon, case)
        empty(daemon)
        ratios.append(spans[-1] / spans[0])
        told = ", ".join(f"{span / spans[0]:.2f}" for span in spans)
        say(f"{case.name}: {case.size} sets, cost by quarter {told}")
        if ratios[-1] <= TOLERATED:
            return
    raise AssertionError(f"{case.name}: {ratios}")


def test_soak_what_is_too_much_behind_one_nat_is_refused(daemon: Daemon) -> None:
    """Where the kernel is linear there is a bound, with a refusal that says what to do."""
    (case,) = [c for c in cases(0, BOUND) if "NAT" in c.name]
    for number in range(BOUND):
        install(daemon, case, number)
    with pytest.raises(CallError) as refused:
        install(daemon, case, BOUND)
    assert refused.value.name.endswith("LimitExceeded")
    assert refused.value.parameters["maximum"] == BOUND
    assert "another address" in refused.value.parameters["hint"]
    empty(daemon)
