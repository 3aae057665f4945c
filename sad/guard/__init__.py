"""The guard: static packet-filter rules that keep clear text off protected ports (IPS-8).

A second layer beside the block policies of the SPD, and independent of them: it drops packets of
protected ports that did not, or will not, pass IPsec, whatever somebody does to the SPD, and on
the loopback interface too, where IPv4 knows no policies (design section 7).

=================  ==============================================================================
``rules``          pure: endpoints to the text of nft and of iptables-restore, and counters back
``backends``       runs the tools: apply, remove, read
``__main__``       ``sad-guard apply | remove | show | print``
=================  ==============================================================================
"""

from sad.guard.rules import ProtectedEndpoint, RuleCounter, render_iptables, render_nftables

__all__ = ["ProtectedEndpoint", "RuleCounter", "render_iptables", "render_nftables"]
