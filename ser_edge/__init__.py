"""ser-edge: speech emotion recognition from mel images, from training to the edge."""

__version__ = "0.2.0"
