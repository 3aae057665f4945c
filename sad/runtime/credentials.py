"""A daemon without TLS credential sets, and what of those that there are is to be seen to."""

from collections.abc import Iterable, Iterator

from sad.model.credential import CredentialState, CredentialView, Finding, HandedOut
from sad.model.errors import no_settings_of_a_credential
from sad.model.views import Notice


class NoCredentials:
    """A daemon that keeps none."""

    def hand_out(self, endpoint: str, known_generation: str | None) -> HandedOut:
        """Refuse."""
        del known_generation
        raise no_settings_of_a_credential(endpoint)

    def revoke(self, endpoint: str) -> str:
        """Refuse."""
        raise no_settings_of_a_credential(endpoint)

    def generation(self, endpoint: str) -> str | None:
        """None."""
        del endpoint
        return None

    def is_revoked(self, endpoint: str, generation: str | None) -> bool:
        """None is."""
        del endpoint, generation
        return False

    def views(self) -> tuple[CredentialView, ...]:
        """None."""
        return ()


def notices_of(views: Iterable[CredentialView]) -> Iterator[Notice]:
    """Tell what is wrong, or will be: what was refused, what ends, what the SIP server missed."""
    for view in views:
        if view.state is CredentialState.REVOKED and not view.refusals:
            yield _notice(
                view, "revoked", "was revoked", "replace the files, then systemctl reload sad"
            )
        for found in view.refusals:
            stays = "" if view.state is CredentialState.MISSING else "the new one is "
            yield _of_finding(view, found, f"{stays}refused: {found.part}: ")
        for found in view.warnings:
            if found.reason in _TOLD:
                yield _of_finding(view, found, "")


#: What else a set is warned of (a root that is sent) stands in sadctl tls show.
_TOLD = frozenset({"expires-soon", "expired", "reload-failed"})


def _of_finding(view: CredentialView, found: Finding, before: str) -> Notice:
    return _notice(view, found.reason, f"{before}{found.text} ({found.rule})", found.hint)


def _notice(view: CredentialView, reason: str, text: str, hint: str) -> Notice:
    return Notice(about=f"TLS credential of {view.endpoint}", reason=reason, text=text, hint=hint)
