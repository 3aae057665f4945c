"""The sets in force, their replacement, their end, and who gets them.

A set is replaced as a whole or not at all: what lies in the files is judged, and a bad one leaves
the old one where it is, in memory and on disk. The end comes by time, so
:meth:`CredentialKeeper.run` looks at the clock again and again. Implements
:class:`sad.runtime.ports.Credentials`.

``on_revoked`` are called with endpoint and generation when a set is taken out of force because its
key may be known to others: what was agreed with it is worth nothing any more. A replaced or an
expired set is not revoked.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sad.credentials import directory, story
from sad.credentials.command import run_command
from sad.credentials.expiry import DAY, Stage, expiry_finding, stage_of
from sad.credentials.leaf import when
from sad.credentials.loading import CredentialSet, Unusable, load
from sad.credentials.reading import Place
from sad.credentials.reasons import Refused, finding
from sad.model.credential import (
    CredentialRules,
    CredentialState,
    CredentialView,
    Finding,
    HandedOut,
    Part,
    WantedCredential,
)
from sad.model.errors import NoCredential, no_settings_of_a_credential
from sad.model.inspection import Expiry

#: The clock may be set: nobody waits longer than this before he looks at it again.
_LONGEST_WAIT: Final = 3600.0


@dataclass(slots=True)
class _Kept:
    """What is known of one endpoint's set. ``wanted`` is of the settings, which may be newer."""

    wanted: WantedCredential
    held: CredentialSet | None = None
    revoked: bool = False
    refusals: tuple[Finding, ...] = ()
    trouble: tuple[Finding, ...] = ()
    told: Stage = Stage.FAR

    @property
    def generation(self) -> str:
        return "" if self.held is None else self.held.generation


class CredentialKeeper:
    """All access is from the event loop's thread."""

    def __init__(
        self, rules: CredentialRules, place: Place, realtime: Callable[[], float]
    ) -> None:
        self._rules = rules
        self._place = place
        self._realtime = realtime
        self._kept: dict[str, _Kept] = {}
        self._revoked_keys: set[bytes] = set()
        self._changed = asyncio.Event()
        self.on_revoked: list[Callable[[str, str], None]] = []

    # --- settings --------------------------------------------------------------------------------

    async def take_over(
        self, wanted: Mapping[str, WantedCredential], rules: CredentialRules
    ) -> tuple[str, ...]:
        """Load every set anew; return the endpoints whose files hold no good one.

        Those keep what they have. The reload commands of those that changed have run.
        """
        self._rules = rules
        for name in set(self._kept) - set(wanted):
            self._forget(name)
        changed: list[_Kept] = []
        for name, wish in wanted.items():
            kept = self._kept.setdefault(name, _Kept(wanted=wish))
            kept.wanted = wish
            loaded = await asyncio.to_thread(
                load, wish, self._folder(name), self._place, self._realtime()
            )
            if self._put_in_force(kept, loaded):
                changed.append(kept)
        await self._run_commands(changed)
        for name in wanted:
            directory.prune(self._folder(name))
        directory.remove_others(Path(rules.directory), wanted)
        self._changed.set()
        return tuple(name for name in wanted if self._kept[name].refusals)

    def _put_in_force(self, kept: _Kept, loaded: CredentialSet | Unusable) -> bool:
        """Take over what was loaded; return whether the SIP server must read files again."""
        endpoint = kept.wanted.endpoint
        if isinstance(loaded, CredentialSet) and loaded.public_key in self._revoked_keys:
            loaded.sealed.close()
            text = "the key was revoked since this node started"
            loaded = Unusable((finding("revoked", Part.KEY, text),))
        if isinstance(loaded, Unusable):
            self._refuse(kept, loaded.refusals)
            return False
        kept.refusals = ()
        before = kept.held
        if before is not None and before.generation == loaded.generation and not kept.revoked:
            loaded.sealed.close()
            return False
        folder = self._folder(endpoint)
        on_disk = directory.current_generation(folder)
        if loaded.wanted.write_files:
            try:
                directory.switch(folder, loaded.generation)
            except Refused as refused:
                loaded.sealed.close()
                self._refuse(kept, (refused.finding,))
                return False
        else:
            directory.remove_endpoint(folder)
        kept.held, kept.revoked, kept.told, kept.trouble = loaded, False, Stage.FAR, ()
        if before is not None:
            before.sealed.close()
        until = when(datetime.fromtimestamp(loaded.facts.valid_until, UTC))
        story.loaded(endpoint, loaded.generation, loaded.facts.names, until)
        # After a start the SIP server has what lies on disk, or has not started itself.
        return before is not None or on_disk not in (None, loaded.generation)

    def _refuse(self, kept: _Kept, refusals: tuple[Finding, ...]) -> None:
        kept.refusals = refusals
        for found in refusals:
            story.refused(kept.wanted.endpoint, kept.generation, found)

    async def _run_commands(self, changed: list[_Kept]) -> None:
        """Run each command once, however many endpoints name it, all at a time."""
        users: dict[tuple[str, ...], list[_Kept]] = {}
        for kept in changed:
            if kept.wanted.reload_command:
                users.setdefault(kept.wanted.reload_command, []).append(kept)
        outcomes = await asyncio.gather(
            *(run_command(command, self._rules.command_seconds) for command in users)
        )
        for failure, of_command in zip(outcomes, users.values(), strict=True):
            for kept in of_command if failure is not None else ():
                assert failure is not None, "only failures are told"
                found = finding("reload-failed", Part.RELOAD_COMMAND, failure)
                kept.trouble = (found,)
                story.command_failed(kept.wanted.endpoint, kept.generation, found)

    def _forget(self, endpoint: str) -> None:
        kept = self._kept.pop(endpoint)
        if kept.held is not None:
            story.gone(endpoint, kept.generation)
            kept.held.sealed.close()
        directory.remove_endpoint(self._folder(endpoint))

    def _folder(self, endpoint: str) -> Path:
        return Path(self._rules.directory) / endpoint

    # --- use -------------------------------------------------------------------------------------

    def hand_out(self, endpoint: str, known_generation: str | None) -> HandedOut:
        """Return the set in force; its descriptors are the caller's to close.

        Who has this generation already gets none. Raises NoCredential.
        """
        kept = self._kept.get(endpoint)
        if kept is None:
            raise no_settings_of_a_credential(endpoint)
        state = self._state(kept)
        held = kept.held
        if held is None or state is not CredentialState.VALID:
            raise _no_credential(kept, state)
        same = held.generation == known_generation
        try:
            descriptors = () if same else held.sealed.duplicates()
        except OSError as error:
            raise NoCredential(
                endpoint=endpoint,
                reason=f"no descriptor is left: {error.strerror}",
                hint="raise LimitNOFILE= of sad.service",
            ) from None
        return HandedOut(
            generation=held.generation,
            names=held.facts.names,
            minimum_version=held.wanted.minimum_version,
            ciphers=held.wanted.ciphers,
            client_authentication=held.wanted.client_authentication,
            descriptors=descriptors,
        )

    def generation(self, endpoint: str) -> str | None:
        """Return the generation in force, None if there is none."""
        kept = self._kept.get(endpoint)
        if kept is None or self._state(kept) is not CredentialState.VALID:
            return None
        return kept.generation

    def is_revoked(self, endpoint: str, generation: str | None) -> bool:
        """Whether a handshake with this set, or with an unknown one, is worth nothing.

        The SIP server may go on with a revoked key until it has another.
        """
        kept = self._kept.get(endpoint)
        return kept is not None and kept.revoked and generation in (None, kept.generation)

    def revoke(self, endpoint: str) -> str:
        """Take an endpoint's set out of force and never its key again; return its generation.

        Raises NoCredential if none is in force. It counts until the daemon is started anew: who
        revokes replaces the files as well.
        """
        kept = self._kept.get(endpoint)
        if kept is None or kept.held is None or kept.revoked:
            raise NoCredential(
                endpoint=endpoint,
                reason="no TLS credential is in force",
                hint="sadctl tls list shows those that are",
            )
        kept.revoked = True
        self._revoked_keys.add(kept.held.public_key)
        kept.held.sealed.close()
        directory.remove_endpoint(self._folder(endpoint))
        story.revoked(endpoint, kept.generation)
        for listener in self.on_revoked:
            listener(endpoint, kept.generation)
        return kept.generation

    def views(self) -> tuple[CredentialView, ...]:
        """Return every set as it stands at this instant."""
        return tuple(self._view(kept) for kept in self._kept.values())

    def expiries(self) -> tuple[Expiry, ...]:
        """Return when each set that may still be used ends, for the metrics."""
        return tuple(
            Expiry(kind="certificate", name=name, at=kept.held.facts.valid_until)
            for name, kept in self._kept.items()
            if kept.held is not None and not kept.revoked
        )

    def close(self) -> None:
        """Give the sealed memory back. Files stay: the SIP server goes on with them."""
        for kept in self._kept.values():
            if kept.held is not None:
                kept.held.sealed.close()
        self._kept.clear()

    # --- time ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at the clock until cancelled."""
        while True:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.rejudge()):
                    await self._changed.wait()

    def rejudge(self) -> float:
        """Tell of every set that has come nearer to its end; return how long to wait, seconds."""
        now, days = self._realtime(), self._rules.warning_days
        wait = _LONGEST_WAIT
        for kept in self._kept.values():
            if kept.held is None or kept.revoked:
                continue
            facts = kept.held.facts
            stage = stage_of(facts, now, days)
            found = expiry_finding(facts, now, days)
            if stage > kept.told and found is not None:
                story.expiring(kept.wanted.endpoint, kept.generation, found, stage)
            kept.told = stage
            for ahead in (days * DAY, 7 * DAY, DAY, 0.0):
                left = facts.valid_until - ahead - now
                if left >= 0:
                    wait = min(wait, left + 1)
        return wait

    # --- words -----------------------------------------------------------------------------------

    def _state(self, kept: _Kept) -> CredentialState:
        if kept.held is None:
            return CredentialState.MISSING
        if kept.revoked:
            return CredentialState.REVOKED
        if self._realtime() > kept.held.facts.valid_until:
            return CredentialState.EXPIRED
        return CredentialState.VALID

    def _view(self, kept: _Kept) -> CredentialView:
        held = kept.held
        state = self._state(kept)
        warnings = list(kept.trouble)
        if held is not None and state is not CredentialState.REVOKED:
            end = expiry_finding(held.facts, self._realtime(), self._rules.warning_days)
            warnings += [*(() if end is None else (end,)), *held.warnings]
        wanted = kept.wanted if held is None else held.wanted
        return CredentialView(
            endpoint=kept.wanted.endpoint,
            state=state,
            generation=kept.generation,
            loaded_at=0.0 if held is None else held.loaded_at,
            facts=None if held is None else held.facts,
            minimum_version=wanted.minimum_version,
            ciphers=wanted.ciphers,
            client_authentication=wanted.client_authentication,
            refusals=kept.refusals,
            warnings=tuple(warnings),
        )


def _no_credential(kept: _Kept, state: CredentialState) -> NoCredential:
    endpoint = kept.wanted.endpoint
    if state is CredentialState.REVOKED:
        reason, hint = "its TLS credential was revoked", "replace the files, systemctl reload sad"
    elif state is CredentialState.EXPIRED:
        reason, hint = "its TLS credential has expired", "renew it, then systemctl reload sad"
    else:
        first = kept.refusals[0]
        reason, hint = f"its TLS credential was refused: {first}", first.hint
    return NoCredential(endpoint=endpoint, reason=reason, hint=hint)
