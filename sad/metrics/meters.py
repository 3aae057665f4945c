"""What is counted as it happens."""

import functools
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from sad.model.association import Association
from sad.model.errors import NoCommonMechanism, SadError
from sad.model.views import Offered, ReconcileReport
from sad.runtime.observer import Observer

#: From what a warm kernel takes to what a caller still waits for.
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Meters(Observer):
    """Counts; see the help text of each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._offers = Counter(
            "sad_offers",
            "Offers by result (taken, refused) and reason: the mechanism that was taken, or why "
            "nothing was, as the API names it",
            ("result", "reason"),
            registry=registry,
        )
        self._passed_over = Counter(
            "sad_offers_passed_over",
            "Mechanisms of offered lists that were not taken, by reason",
            ("mechanism", "reason"),
            registry=registry,
        )
        self._install_seconds = Histogram(
            "sad_install_seconds",
            "How long journal and kernel took to put an association into force",
            ("mechanism",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._ended = Counter(
            "sad_associations_ended",
            "Associations that ended, by mechanism and reason",
            ("mechanism", "reason"),
            registry=registry,
        )
        self._kernel_errors = Counter(
            "sad_kernel_errors",
            "Errors with which the kernel answered, by errno",
            ("errno",),
            registry=registry,
        )
        self._reconcile_runs = Counter(
            "sad_reconcile_runs", "Comparisons of kernel and journal", registry=registry
        )
        self._reconcile_actions = Counter(
            "sad_reconcile_actions",
            "What comparisons did: adopted, repaired, removed, ended",
            ("action",),
            registry=registry,
        )
        self._problems = Counter(
            "sad_problems",
            "Problems that nobody's answer carried; sadctl status shows the last",
            registry=registry,
        )
        for action in ("adopted", "repaired", "removed", "ended"):
            self._reconcile_actions.labels(action)  # a rate needs its zero
        # What each registration asks for: the library looks a child up under a lock.
        self._offer = functools.cache(self._offers.labels)
        self._passed = functools.cache(self._passed_over.labels)
        self._installing = functools.cache(self._install_seconds.labels)
        self._end = functools.cache(self._ended.labels)

    def offer_taken(self, offered: Offered) -> None:
        """Count it, and what was passed over."""
        self._offer("taken", offered.association.mechanism).inc()
        for refusal in offered.refusals:
            self._passed(_word(refusal.mechanism), refusal.reason).inc()

    def offer_refused(self, error: SadError) -> None:
        """Count it by the name of its error, and each mechanism by its own reason."""
        self._offer("refused", type(error).__name__).inc()
        if isinstance(error, NoCommonMechanism):
            for refusal in error.refusals:
                self._passed(_word(refusal.mechanism), refusal.reason).inc()

    def installed(self, mechanism: str, seconds: float) -> None:
        """Count it."""
        self._installing(mechanism).observe(seconds)

    def ended(self, association: Association) -> None:
        """Count it."""
        self._end(association.mechanism, str(association.end_reason)).inc()

    def reconciled(self, report: ReconcileReport) -> None:
        """Count it."""
        self._reconcile_runs.inc()
        for action in ("adopted", "repaired", "removed", "ended"):
            self._reconcile_actions.labels(action).inc(getattr(report, action))

    def problem(self) -> None:
        """Count it."""
        self._problems.inc()

    def kernel_error(self, name: str) -> None:
        """Count an errno by its name."""
        self._kernel_errors.labels(name).inc()


#: Names come from the network: a phone that invents some must not make as many time series.
_KNOWN: Final = frozenset({"ipsec-3gpp", "ipsec-ike", "ipsec-man", "tls", "digest"})


def _word(mechanism: str) -> str:
    return mechanism if mechanism in _KNOWN else "other"
