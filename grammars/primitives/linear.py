"""Sums with constant weights: the language of sparse rounded filters."""

from grammars.primitive import Field, primitive


@primitive(tags=("core",), weight=32.0)
def linear(k, *terms: Field, weights, bias) -> Field:
    """Σ weight · term + bias, elementwise over terms that broadcast to one shape."""
    return k.linear(weights, terms, bias)
