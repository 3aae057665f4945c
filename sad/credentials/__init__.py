"""The TLS credential sets that the daemon owns: read, judged, kept, handed out.

A set belongs to one endpoint: certificate with chain, private key, trust anchors. What is judged
is pure (bytes and the time in, findings out); files, descriptors and processes are at the rim.

=================  ==============================================================================
``reasons``        every reason to refuse or warn, with its rule and the way out
``pem``            PEM text: which blocks, and nothing between their marks that is none (pure)
``keys``           a private or public key: kind, strength, name (pure)
``names``          whose certificate it is: RFC 5922 (pure)
``leaf``           the certificate itself: dates, signature, usage (pure)
``chain``          from the certificate to a trust anchor: RFC 5280 (pure)
``judging``        all of these over one set (pure)
``expiry``         how near the end is (pure)
``reading``        files: opened once, looked at, bounded
``sealed``         sealed memfds
``directory``      files for the SIP server, switched as one
``command``        the SIP server's reload command, bounded
``loading``        one set made ready, in a thread
``story``          log records
``keeper``         the sets in force, and their replacement
=================  ==============================================================================
"""
