"""Symbolic regression by the libraries of others, each in a process of its own."""
