"""Key files of ``ipsec-man``: read and judged, every problem with its line.

=================  ==============================================================================
``shape``          the model of a ``[[key_set]]`` table
``files``          what may be read at all, and where in it each field stands
``load``           files to key sets that :mod:`sad.core.key_judgement` found good
``check``          what ``--check-config`` says of them
=================  ==============================================================================
"""
