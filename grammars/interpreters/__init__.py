"""Algebras that give programs meaning: torch, rational, affine and text."""
