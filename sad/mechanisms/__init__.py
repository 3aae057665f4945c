"""One module for each mechanism of RFC 3329, registered by its name; a new one is a new file.

=================  ==============================================================================
``ipsec_3gpp``     SA sets in the kernel (RFC 3329 Appendix A, TS 33.203)
``xfrm``           SAs and policies of ours in the kernel, whichever mechanism they are of
``limits``         how the kernel's limits of an SA follow a deadline
``tls``            TCP connections that the SIP server terminates, bound by their cookies
``plain``          the answers of mechanisms that have none
``rebuild``        adding SAs again that somebody else has taken out
``probe``          does this kernel have ESP and the configured algorithms? warms them up
=================  ==============================================================================
"""
