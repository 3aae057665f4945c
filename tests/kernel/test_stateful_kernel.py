"""Two phones' calls and foreign hands on a real kernel, against the model."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.oracle import sets as model
from tests.oracle.bench import NODE
from tests.oracle.kernel_bench import KernelBench
from tests.oracle.machine import Lifetimes, Plan
from tests.oracle.tables import wanted_policies, wanted_sas
from tests.support import eye
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel


class KernelLifetimes(Lifetimes):
    """The rules that a real kernel allows; ``ip xfrm`` looks at the end of each story."""

    namespace: Namespace
    bench: KernelBench

    def __init__(self) -> None:
        super().__init__()
        self.bench = KernelBench(self.namespace)

    def teardown(self) -> None:
        if self.bench.started:
            self.look_with_ip()
        self.run(self.bench.kill())
        self.bench.close()
        self.loop.close()

    def happen(self, plans: Sequence[Plan], turns: Sequence[int], *, faulty: bool = False) -> None:
        self.run(self.bench.catch_up())
        self.sets = model.passed(self.sets, self.now)
        super().happen(plans, turns, faulty=faulty)

    def look_with_ip(self) -> None:
        """The independent eye sees the model's SAs and as many policies of the sets."""
        seen = {(s.destination, s.spi) for s in eye.states(self.namespace)}
        wanted = {(i.destination, i.spi) for i in wanted_sas(self.sets, NODE)}
        assert seen - {("10.10.0.8", 4242)} == wanted
        allowing = [p for p in eye.policies(self.namespace) if "tmpl" in p]
        assert len(allowing) == len(wanted_policies(self.sets, NODE))


def test_lifetimes_on_a_real_kernel(netns: Callable[[str], Namespace]) -> None:
    """Norms 12, rows 1 to 5, 7 and 9; design 7 and 8: kernel, list, journal and model agree."""
    KernelLifetimes.namespace = netns("stateful")
    run_state_machine_as_test(
        KernelLifetimes, settings=settings(max_examples=5, stateful_step_count=12)
    )
