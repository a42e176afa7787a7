"""A microphone or stream to events: sources, the live session, the terminal view, health.

It runs for months on bounded memory.
It imports output, the classifier and what is below.
"""
