"""Gates: short programs for functions of bits, found from a table of what they give."""
