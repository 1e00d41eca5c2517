"""Freehold: governed training and inference as two states of one system, on your own ground."""

__version__ = "0.1.0"
