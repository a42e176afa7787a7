"""What is said and what it might mean: transcription, language models, annotations.

Optional; nothing leaves this machine unless an endpoint is configured.
It imports inference and what is below.
"""
