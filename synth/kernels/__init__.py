"""Kernels found for weights: families of kernels as functions of their parameters, fitted by
variable projection, and rounded to human grids."""
