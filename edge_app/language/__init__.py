"""Transcription, interpretation by language models, and annotations beside an answer.

Optional; nothing is sent elsewhere unless an endpoint is configured.
It imports inference and what is below.
"""
