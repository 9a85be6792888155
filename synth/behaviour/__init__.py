"""How a replacement behaves beyond its validation: where, and under what, it differs."""
