"""What can be wrong with a SIP text of the P-CSCF's business. Texts hold no value of a header."""

from __future__ import annotations


class ImsError(Exception):
    """A header cannot be understood; ``rule`` names the clause, empty if none."""

    def __init__(self, reason: str, rule: str = "") -> None:
        super().__init__(reason, rule)
        self.reason = reason
        self.rule = rule

    def __str__(self) -> str:
        return "{} [{}]".format(self.reason, self.rule) if self.rule else self.reason


class DigestError(ImsError):
    """Authorization or WWW-Authenticate."""
