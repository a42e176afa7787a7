"""ser-edge: speech emotion recognition from mel images, from corpus to edge."""

__version__ = "0.1.0"
