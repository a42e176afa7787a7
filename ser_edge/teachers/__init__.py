"""Networks pretrained on speech as teachers: soft targets for clips, written to a file.

Cross-fitted, so that no clip is scored by a teacher that was trained on its speaker.
It imports training and what is below.
"""
