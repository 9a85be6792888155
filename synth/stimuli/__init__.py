"""Synthetic pictures at graded parameters: gratings, bars, edges, curves and spots."""
