"""Microphones and streams -> events: sources, the live session, the terminal view, health.

It runs for months in bounded memory.
It imports output, the classifier and what is below.
"""
