"""Families: units of a layer whose programs are one program over a table."""
