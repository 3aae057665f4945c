"""REGISTER and its answers: the agreement of RFC 3329 as TS 33.203 and TS 24.229 bend it.

The way: :meth:`Registering.request` (any REGISTER), :meth:`challenge` (401 of the core),
:meth:`answered` (any other final answer). Between them the state travels in the transaction.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence

from sip_hooks import ims
from sip_hooks.client import CallError
from sip_hooks.ims import FlowEntry, RegistrationEntry
from sip_hooks.kamailio import message, tables
from sip_hooks.kamailio.answers import granted_in, identities_in, make_ready, service_route_in
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Refused
from sip_hooks.kamailio.settings import HookSettings

_TEMPORARY = "temporary"


class Registering:
    """Decides about REGISTER. ``find_flow`` tells whose a protected flow is, or raises Refused."""

    def __init__(
        self,
        settings: HookSettings,
        calls: DaemonCalls,
        find_flow: Callable[[Dict[str, Any]], FlowEntry],
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._find_flow = find_flow

    # --- request ---------------------------------------------------------------------------------

    def request(self, *, protected: bool) -> str:
        """Judge a REGISTER of a user agent and make it ready for the core."""
        vias = message.rows("Via")
        if not ims.has_one_via(vias):
            # R3329-2.3.2-b: not the first hop, so no agreement.
            raise Refused(502, "Bad Gateway", why="more than one Via")
        authorization = message.rows("Authorization")
        try:
            identity = ims.private_identity(authorization)
            identity_to = ims.aor_of(message.value("$tu"))
        except ims.ImsError as error:
            raise Refused(400, "Bad Request", why=str(error)) from None
        client = message.rows("Security-Client")
        if not client:
            # T24-P-1, T24-P-2, T24-P-3; INTEROP-10: no way without protection.
            raise Refused(421, "Extension Required", "Require: sec-agree", "no Security-Client")
        flow = message.flow()
        set_: Optional[Dict[str, Any]] = None
        via_address = None if protected else self._via_address(flow, vias[0])
        if protected:
            set_ = self._verified(flow, identity, vias[0], client)
        else:
            self._calls.call(
                "Screen",
                endpoint=self._settings.endpoint,
                registration={"privateIdentity": identity, "publicIdentities": [identity_to]},
                flow=flow,
                securityClient=client,
                viaAddress=via_address,
            )
        integrity = set_ is not None and self._is_integrity_protected(set_, authorization)
        message.keep(
            {
                "identity": identity,
                "client": client,
                "flow": flow,
                "to": identity_to,
                "branch": ims.via_branch(vias[0]),
                "via": via_address,
                "contact": message.rows("Contact"),
                "set": set_,
            }
        )
        self._make_ready(authorization[0], integrity=integrity, set_=set_)
        return "registrar"

    def _via_address(self, flow: Dict[str, Any], via: str) -> Optional[str]:
        """T33-M-a: what the user agent calls itself; another than its packet's tells of a NAT.

        Then the answer goes where the packet came from (RFC 3581). Nobody behind a NAT has an
        address of the core: policies would be made for it.
        """
        address = ims.via_address(via)
        if address is not None and address != flow["peerAddress"]:
            message.answer_to_source()
            if self._settings.is_core(address):
                raise Refused(403, "Forbidden", why="the Via names an address of the core")
        return address

    def _verified(
        self, flow: Dict[str, Any], identity: str, via: str, client: List[str]
    ) -> Dict[str, Any]:
        entry = self._find_flow(flow)
        if message.value("$pr") == "udp":
            # T33-7.1-d: answers go from port_pc to port_us, on the set of the request.
            message.answer_from(flow["localAddress"], entry.port_pc)
        answer = self._calls.call(
            "Verify",
            flow=flow,
            securityVerify=message.rows("Security-Verify"),
            securityClient=client,
        )
        association: Dict[str, Any] = answer["association"]
        # T33-7.1-p2: the packet's source must be the address of its Via; through a NAT the user
        # agent may name what it has learnt of itself (TS 24.229 F.2.1.2.2).
        udp = association["ipsec3gpp"].get("udpEncapsulation")
        outside = None if udp is None else udp["peerAddress"]
        if ims.via_host(via) not in (flow["peerAddress"], outside):
            raise Refused(403, "Forbidden", why="the Via names another address than the packet")
        if association["registration"]["privateIdentity"] != identity:
            raise Refused(403, "Forbidden", why="the SA belongs to another private identity")
        return association

    def _is_integrity_protected(self, set_: Dict[str, Any], authorization: List[str]) -> bool:
        """T33-6.1-a: the answer to a challenge counts only on the set of that challenge."""
        challenged = tables.challenged_set(ims.nonce_of(authorization[0]))
        if challenged is None:
            return bool(set_["state"] != _TEMPORARY)
        return bool(challenged == set_["id"])

    def _make_ready(
        self,
        authorization: str,
        *,
        integrity: bool,
        set_: Optional[Dict[str, Any]],
    ) -> None:
        message.replace("Authorization", (ims.mark_integrity(authorization, protected=integrity),))
        # The core challenges what comes in clear, and keeps no such Path.
        make_ready(self._settings, "clear" if set_ is None else tables.token_of(set_))

    # --- answers ---------------------------------------------------------------------------------

    def challenge(self) -> None:
        """A 401: make the SA set, then let the challenge go without its keys (T24-P-6).

        The last thing done is to mark the challenge as good: without the mark a failure_route
        turns it into a refusal.
        """
        state = message.kept()
        try:
            self._challenge(state)
        except Refused as refused:
            message.log("no challenge: {}".format(refused.why))
            message.set_number("$avp(sad_code)", refused.status)
            message.set_value("$avp(sad_reason)", refused.reason)
            if refused.header:
                message.set_value("$avp(sad_header)", refused.header)

    def _challenge(self, state: Dict[str, Any]) -> None:
        set_ = state["set"]
        if set_ is not None and set_["state"] == _TEMPORARY:
            # The answer to the first challenge was wrong: there is no set to challenge on again.
            self._release(set_)
            raise Refused(403, "Forbidden", why="a challenge to the answer of a challenge")
        if set_ is None and self._settings.tls_port and self._is_sip_digest():
            self._challenge_to_tls(state)
            return
        try:
            keys = ims.take_keys(message.rows("WWW-Authenticate"))
        except ims.ImsError as error:
            raise Refused(503, "Service Unavailable", why=str(error)) from None
        if keys.integrity_key is None:
            raise Refused(503, "Service Unavailable", why="the core gave no ik")
        answer = self._offer(state, keys.integrity_key, keys.cipher_key)
        association = answer["association"]
        if association.get("tls"):
            self._put_challenge(answer, (keys.clean,))
            return
        if set_ is None:
            tables.forget_stale(association, self._calls.find)
        tables.put_flows(association, used=False)
        tables.note_challenge(keys.nonce, association["id"], association["secondsLeft"])
        self._put_challenge(answer, (keys.clean,))

    def _offer(
        self, state: Dict[str, Any], integrity_key: Optional[str], cipher_key: Optional[str]
    ) -> Dict[str, Any]:
        set_ = state["set"]
        return self._calls.call(
            "Offer",
            endpoint=self._settings.endpoint,
            registration={"privateIdentity": state["identity"], "publicIdentities": [state["to"]]},
            flow=state["flow"],
            transaction={
                "callId": message.value("$ci"),
                "cseq": int(message.value("$cs")),
                "branch": state["branch"],
            },
            association=None if set_ is None else set_["id"],
            securityClient=state["client"],
            integrityKey=integrity_key,
            cipherKey=cipher_key,
            viaAddress=state["via"],
        )

    @staticmethod
    def _put_challenge(answer: Dict[str, Any], challenges: Sequence[str]) -> None:
        for challenge in challenges:
            message.append("WWW-Authenticate", challenge)
        message.append("Security-Server", answer["securityServer"])
        message.set_value("$avp(sad_offered)", "1")

    @staticmethod
    def _is_sip_digest() -> bool:
        """Whether no challenge of a 401 is AKA's: its algorithm tells (RFC 3310, TS 24.229)."""
        rows = message.rows("WWW-Authenticate")
        try:
            found = [ims.take_keys((row,)) for row in rows]
        except ims.ImsError:
            return False  # refused below, with the reason
        return bool(found) and all(
            k.integrity_key is None and not k.algorithm.upper().startswith("AKA") for k in found
        )

    def _challenge_to_tls(self, state: Dict[str, Any]) -> None:
        """T33-O-a: SIP digest brings no keys, so the mechanism is tls; each challenge goes on."""
        clean = [ims.take_keys((row,)).clean for row in message.rows("WWW-Authenticate")]
        self._put_challenge(self._offer(state, None, None), clean)

    def answered(self) -> None:
        """A final answer other than a challenge."""
        state = message.kept()
        set_ = state["set"]
        if set_ is None:
            return  # unprotected: a refusal of the core, which changes nothing here
        status = int(message.value("$rs"))
        if status >= 300:
            if set_["state"] == _TEMPORARY:  # matrix row 6: a failed authentication ends it
                self._release(set_)
            return
        granted = granted_in(state)
        if granted:
            self._confirm(state, set_, granted)
        elif granted == 0:
            self._deregistered(state, set_)

    def _confirm(self, state: Dict[str, Any], set_: Dict[str, Any], granted: int) -> None:
        """T24-P-7: the set lives as long as the registration; other workers hear of it.

        That also while the daemon is away: it is told again, and calls must go on. If it refuses
        for good the set is no more, and the 200 is lost on its way: the user agent will come
        again in clear, and nobody is sent to it till then.
        """
        token = tables.token_of(set_)
        before = tables.registration_entry(token)
        aors = {state["to"], *(() if before is None else before.aors)}
        entry = RegistrationEntry.of(
            set_,
            identities=identities_in(state["to"]),
            service_route=service_route_in(),
            aors=tuple(sorted(aors)),
        )
        parameters = {
            "id": set_["id"],
            "expiresSeconds": granted,
            "publicIdentities": list(entry.identities),
            "note": entry.note(),
        }
        try:
            answer = self._calls.insist("Confirm", parameters, confirming=set_)
        except CallError:
            return
        if answer is None:
            # What the daemon will say when it is back: T24-P-8, a first set is in use at once.
            state_now = "established" if before is not None else "inUse"
            state_now = state_now if set_["state"] == _TEMPORARY else set_["state"]
            confirmed = dict(set_, state=state_now)
        else:
            confirmed = answer["association"]
        confirmed["secondsLeft"] = max(granted, int(confirmed["secondsLeft"]))
        in_use = confirmed["state"] == "inUse"
        tables.put_flows(confirmed, used=in_use)
        if in_use:
            tables.put_registration(token, entry, confirmed["secondsLeft"])
        elif before is not None:
            # T24-P-9: until its first request the new set does not carry what is sent.
            tables.put_registration(token, entry.sent_on(before), confirmed["secondsLeft"])

    def _deregistered(self, state: Dict[str, Any], set_: Dict[str, Any]) -> None:
        """T24-D-1, T24-D-2: with the last identity the sets go, after the answer has left."""
        token = tables.token_of(set_)
        before = tables.registration_entry(token)
        left = () if before is None else tuple(a for a in before.aors if a != state["to"])
        if before is not None and left:
            tables.put_registration(token, before.with_aors(left), int(set_["secondsLeft"]))
            return
        self.release_registration(set_["id"])
        tables.forget(token, set_)

    def release_registration(self, association_id: str) -> None:
        """End every set of a registration when its last transactions have had their time."""
        self._calls.tell(
            "Release",
            {
                "id": association_id,
                "wholeRegistration": True,
                "lingerSeconds": self._settings.linger,
            },
        )

    def _release(self, set_: Dict[str, Any]) -> None:
        self._calls.tell(
            "Release", {"id": set_["id"], "lingerSeconds": min(self._settings.linger, 32)}
        )
