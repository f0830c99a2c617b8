"""Measuring models: a source's own answers, and how far a variant is from them."""
