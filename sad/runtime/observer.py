"""What may be counted as it happens: the shell tells, and whoever counts listens.

This one does not; :class:`sad.metrics.meters.Meters` does.
"""

from sad.model.association import Association
from sad.model.errors import SadError
from sad.model.views import Offered, ReconcileReport


class Observer:
    """Hears and does nothing. No method may raise or wait."""

    def offer_taken(self, offered: Offered) -> None:
        """An Offer was installed; its refusals are of the mechanisms that were passed over."""

    def offer_refused(self, error: SadError) -> None:
        """An Offer was refused."""

    def installed(self, mechanism: str, seconds: float) -> None:
        """An association was put into force; how long journal and mechanism took."""

    def ended(self, association: Association) -> None:
        """An association ended."""

    def reconciled(self, report: ReconcileReport) -> None:
        """A comparison was made."""

    def problem(self) -> None:
        """Something went wrong that nobody's answer carries."""
