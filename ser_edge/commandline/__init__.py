"""What both commands share: the argument parser with suggestions, and shell completion.

Standard library only, so that ``--version`` and ``--help`` answer at once.
It imports nothing of this distribution.
"""
