"""Pure decisions and plans: no I/O, no clock, no randomness of its own, no await.

=================  ==============================================================================
``table``          the associations in memory with their indexes: what decisions look at
``validation``     is an Install request legal? (TS 33.203 7.1, RFC 4303, Annex H)
``allocation``     SPIs, ports and reqids from their pools; randomness is an argument
``decision``       request -> association, or the refusal
``lifecycle``      the one transition table, and deadlines
``desired``        associations and endpoints -> the SAs and policies that must lie in the kernel
``planning``       a change of associations -> kernel operations in a safe order
``reconcile``      what should be against what the kernel holds -> findings
=================  ==============================================================================
"""
