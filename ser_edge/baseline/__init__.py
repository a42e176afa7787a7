"""Classic acoustic features (librosa) and scikit-learn's MLP on them, for comparison.

Nothing here needs torch.
It imports metrics, data, corpora, audio and the shared modules.
"""
