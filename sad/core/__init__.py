"""Pure decisions and plans: no I/O, no clock, no randomness of its own, no await.

=================  ==============================================================================
``table``          the associations in memory with their indexes: what decisions look at
``indexes``        ... which cost next to nothing for what stands alone
``pending``        the part of the table that counts the temporary sets of Offer
``validation``     is an Install request legal? (TS 33.203 7.1, RFC 4303, Annex H)
``occupancy``      may its ports and SPIs stand beside those that live? (T33-7.1-p3)
``allocation``     SPIs, ports and reqids from their pools; randomness is an argument
``decision``       request -> association, or the refusal
``agreement``      RFC 3329's lists: what is chosen, what is sent, what must come back
``offer``          Offer: what it may do, what it replaces, the install it makes
``choosing``       what profile ims takes where it has tls beside ipsec-3gpp (Annex S.3)
``tls_offer``      Offer where that is tls: an association that waits for its connection
``attaching``      Attach: which association a TLS connection gets, or why it gets none
``admission``      how much unprotected REGISTERs may take
``fair_queue``     a queue that goes turn by turn, user by user
``replacement``    Confirm and first request: which older sets end or retire
``lifecycle``      the one transition table, and deadlines
``desired``        associations and endpoints -> the SAs and policies that must lie in the kernel
``planning``       a change of associations -> kernel operations in a safe order
``nonces``         how many packets and rebuilds aes-gcm and aes-gmac may have
``rebuilding``     how lost SAs are made again: no sequence number twice
``restoring``      how sets go on at another node: beyond whatever it had not told
``key_judgement``  are key sets of ipsec-man good, each and together?
``key_material``   the keys that were given -> those of each SA
``recognition``    which entries of the kernel's tables are as they should be, by their bytes
``reconcile``      what should be against what the kernel holds -> findings
=================  ==============================================================================
"""
