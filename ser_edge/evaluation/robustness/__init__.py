"""How well a model does on degraded speech and on sounds that are no speech.

The sounds are made by rule here and share no code with the training's augmentation.
It imports the rest of :mod:`ser_edge.evaluation` and what is below.
"""
