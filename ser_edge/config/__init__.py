"""Training recipes, augmentation strengths, trackers and hardware options as dataclasses.

Nothing here needs torch.
It imports :mod:`ser_edge.mel` and the shared modules.
"""
