"""One module for each mechanism of RFC 3329, registered by its name; a new one is a new file.

=================  ==============================================================================
``ipsec_3gpp``     SA sets in the kernel (RFC 3329 Appendix A, TS 33.203)
``rebuild``        adding SAs again that somebody else has taken out
``probe``          does this kernel have ESP and the configured algorithms? warms them up
=================  ==============================================================================
"""
