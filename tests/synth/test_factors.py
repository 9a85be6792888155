"""The factor of an inverse: triangular, exact on plain matrices, and its square is the inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import correlated

from synth.factors import inverse_factor


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([0.0, 0.95]))
def test_its_square_is_the_inverse(seed, size, correlation):
    """UᵀU times the matrix is the identity, and U is upper triangular with a positive diagonal."""
    rows = correlated(3 * size, size, correlation, seed)
    gram = rows.T @ rows / len(rows) + 1e-3 * np.eye(size)
    factor = inverse_factor(gram)
    assert np.array_equal(factor, np.triu(factor)) and (np.diagonal(factor) > 0).all()
    assert factor.T @ factor @ gram == pytest.approx(np.eye(size), abs=1e-8)


def test_a_diagonal_is_exact():
    """Of independent inputs, each error stays where it is."""
    assert inverse_factor(np.diag([4.0, 16.0])).tolist() == [[0.5, 0.0], [0.0, 0.25]]


def test_an_indefinite_matrix_is_refused():
    """No factor is made up for a matrix that has none."""
    with pytest.raises(np.linalg.LinAlgError):
        inverse_factor(np.array([[1.0, 2.0], [2.0, 1.0]]))
