"""Output of answers and events: formats, files, MQTT, and images of explanations.

One class a format; a slow or broken sink never blocks the audio loop.
It imports language, inference and what is below.
"""
