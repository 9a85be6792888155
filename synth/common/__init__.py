"""Common values: what units of a bank say alike is named where that makes the source shorter."""
