"""Weights to ONNX to OpenVINO IR (FP16, INT8), each verified against the one before.

Also the model folder ``models/<name>/`` that ships with its figures.
It imports training, runs, metrics and what is below.
"""
