"""The SA sets of a UE: made, established, grown old, gone (T33-7.1, T24-UE-2 to T24-UE-6).

The counterpart of the P-CSCF's table of sets. :mod:`tests.ue.registration` says when, here is
what: SPIs and ports that are new, a lifetime, and deletion after the last transaction.
"""

import asyncio
import secrets
from collections.abc import Callable

from tests.ue.agent import Agent, Alter, Trace
from tests.ue.channel import Channel, ChannelState, ClientPort
from tests.ue.config import UeConfig
from tests.ue.flow import HostPort
from tests.ue.security import AgreementAborted, Offer, SaSet
from tests.ue.sip import Request, Response
from tests.ue.xfrm import Xfrm


class SetAgent(Agent):
    """An agent with SA sets. ``current`` carries what it sends, None while unregistered."""

    def __init__(
        self,
        config: UeConfig,
        xfrm: Xfrm,
        *,
        alter: Alter | None = None,
        on_trace: Callable[[Trace], None] | None = None,
    ) -> None:
        super().__init__(config, xfrm, alter=alter, on_trace=on_trace)
        self.current: Channel | None = None

    async def client_port(self) -> ClientPort:
        config = self.config
        return await ClientPort.reserve(
            config.address, config.protected_ports, self, config.namespace
        )

    async def offer(self, port: ClientPort) -> Offer:
        """New spi_uc, spi_us and port_uc; port_us stays (T33-7.1-g, T33-7.1-u1)."""
        server = await self.server_port()
        used = {0}
        for channel in self.channels:
            if (s := channel.sa_set) is not None:
                used |= {s.spi_uc, s.spi_us, s.spi_pc, s.spi_ps}
        spis: set[int] = set()
        while len(spis) < 2:
            # Above every port number, which xfrm.py uses as reqids of cross pairs.
            spis |= {0x10000 + secrets.randbelow(0xFFFEFFFF)} - used
        spi_c, spi_s = spis
        return Offer(
            spi_c=spi_c,
            spi_s=spi_s,
            port_c=port.number,
            port_s=server.local.port,
            algorithms=self.config.algorithms,
            modes=("trans", "UDP-enc-tun") if self.config.behind_nat else ("trans",),
        )

    async def protect(self, sa_set: SaSet, port: ClientPort) -> Channel:
        """Install a temporary set and open its channel (T24-UE-2)."""
        self._check_ports(sa_set)
        await self.xfrm.add(sa_set)
        self.count_installed(1)
        channel = Channel(
            port,
            await self.server_port(),
            receiver=self,
            remote_server=HostPort(sa_set.pcscf_address, sa_set.port_ps),
            remote_client=HostPort(sa_set.pcscf_address, sa_set.port_pc),
            sa_set=sa_set,
            answer_from_server_port=self.config.answer_from_server_port,
            namespace=self.config.namespace,
            connect_seconds=self.config.timers.timeout,
        )
        self.channels.append(channel)
        self.live(channel, asyncio.get_running_loop().time() + self.config.reg_await_auth)
        self.note("security", f"temporary SA set {channel.label}", channel)
        return channel

    def _check_ports(self, new: SaSet) -> None:
        """T33-7.1-g: port_ps stays, port_pc is new for each set."""
        for old in [c.sa_set for c in self.channels if c.sa_set is not None]:
            if old.port_ps != new.port_ps:
                raise AgreementAborted("port_ps changed during a registration")
            if old.port_pc == new.port_pc:
                raise AgreementAborted("port_pc belongs to a living set")
            if {old.spi_pc, old.spi_ps} & {new.spi_pc, new.spi_ps}:
                raise AgreementAborted("the SPI belongs to a living set")

    def establish(self, channel: Channel) -> None:
        """Send on ``channel`` from now on; older sets wait for traffic on it."""
        if channel.state is ChannelState.TEMPORARY:
            channel.state = ChannelState.ESTABLISHED
            self.note("security", f"SA set {channel.label} established", channel)
        for older in self.channels:
            if older is not channel and older.state is ChannelState.ESTABLISHED:
                older.state = ChannelState.OLD
        self.current = channel

    def live(self, channel: Channel, until: float) -> None:
        """Let the set live ``until`` an instant of the loop's clock, whatever was before."""

        def expire() -> None:
            if channel is self.current:
                self.current = None
            self.spawn(self._retire(channel))

        channel.live_until(until, asyncio.get_running_loop().call_at(until, expire))

    async def _retire(self, channel: Channel) -> None:
        """T24-UE-5: delete a set when its transactions are complete."""
        await self.transactions.idle(channel)
        await self.remove(channel)

    def on_protected_message(self, channel: Channel, message: Request | Response) -> None:
        """T24-UE-5: traffic from the P-CSCF on the new set ends the old one.

        The 200 to the REGISTER that made the set does not count (T33-7.4.1a: a further message).
        """
        if isinstance(message, Response) and message.cseq.method == "REGISTER":
            if message.status == 200 and channel.state is ChannelState.TEMPORARY:
                self.establish(channel)  # T33-7.2-e: its arrival completes the set-up
            return
        if channel is not self.current:
            return
        for older in [c for c in self.channels if c.state is ChannelState.OLD]:
            older.state = ChannelState.RETIRING
            self.spawn(self._retire(older))

    async def drop_sets(self) -> None:
        """Remove every set at once, and port_us with the last."""
        self.current = None
        for channel in [*self.channels]:
            await self.remove(channel)
        await self.close_server_port()
