"""OpenVINO: devices, models and profiles on disk, the runtime, the occlusion analysis.

It answers with logits; what they mean is decided in :mod:`edge_app.classifier`.
It imports :mod:`edge_app.results`, threads, and ``ser_edge``'s audio, mel and shared modules.
"""
