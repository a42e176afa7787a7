"""ser-edge: speech emotion recognition from mel images, from corpus to edge."""
