"""The fit: mel images or waveforms of training speakers to weights and a run folder.

Modules of Lightning, losses, optimisers, distillation, trackers.
It imports runs, nets, metrics, data, config and what is below.
"""
