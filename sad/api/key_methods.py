"""What the methods of ``org.sipsad.Control`` do about key sets; for :mod:`sad.api.methods`."""

from sad.api import key_conversion
from sad.api import key_messages as messages
from sad.api.backend import KeyBackend
from sad.api.framing import Call, encode_reply
from sad.model.errors import MechanismUnavailable
from sad.model.requests import Caller


class KeyMethods:
    """Handlers over the key sets of the daemon, which may have none."""

    def __init__(self, key_sets: KeyBackend | None) -> None:
        self._given = key_sets

    @property
    def _key_sets(self) -> KeyBackend:
        if self._given is None:
            raise MechanismUnavailable(
                mechanism="ipsec-man",
                reason="this daemon keeps no key sets",
                hint="list ipsec-man in mechanisms of an endpoint",
            )
        return self._given

    async def add(self, _caller: Caller, wanted: messages.AddKeyIn) -> messages.AddKeyOut:
        """``AddKey``."""
        held = await self._key_sets.add(key_conversion.key_set_draft(wanted))
        return messages.AddKeyOut(key=key_conversion.key(held))

    async def rotate(self, _caller: Caller, wanted: messages.RotateKeyIn) -> messages.RotateKeyOut:
        """``RotateKey``."""
        held = await self._key_sets.rotate(key_conversion.rotate_request(wanted))
        return messages.RotateKeyOut(key=key_conversion.key(held))

    async def remove(self, _caller: Caller, wanted: messages.RemoveKeyIn) -> messages.RemoveKeyOut:
        """``RemoveKey``."""
        await self._key_sets.remove(wanted.name)
        return messages.RemoveKeyOut()

    def list(self, _caller: Caller, _in: messages.ListKeysIn, _call: Call) -> bytes:
        """``ListKeys``."""
        return encode_reply(key_conversion.key_list(self._key_sets.list()))
