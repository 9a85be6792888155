"""Joint refinement: the constants of all programs of a choice, moved together on their grids.

Programs are chosen by prices that take errors of different units for uncorrelated. Here they are
not: what one unit's rounding does to the outputs, another's makes up for. A step changes one
constant by a step of its grid, and is taken where the divergence of the outputs falls by more, at
the multiplier of the choice, than the bits grow.
"""
