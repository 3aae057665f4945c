"""What runs inside SIP servers and user agents. Standard library only.

SIP servers embed the distribution's Python, not an environment of ours.

=================  ==============================================================================
``secagree``       RFC 3329 as a library without I/O: grammar, both roles, all mechanisms
``client``         blocking client of the daemon's socket
=================  ==============================================================================
"""
