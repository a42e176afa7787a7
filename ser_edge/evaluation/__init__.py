"""How well a recipe or a model does: cross-validation, other corpora, the edge app, profiles.

Test speakers are scored here and are never used to choose anything.
It imports export, training and what is below.
"""
