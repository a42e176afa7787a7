"""Answers and events to text, files, MQTT and pictures.

One class a format; a slow or broken sink never holds up the listener.
It imports language, inference and what is below.
"""
