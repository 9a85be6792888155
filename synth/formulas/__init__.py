"""Formulas: short nonlinear programs found by enumeration and by fitting their constants."""
