"""The triangular factor by which the error of one constant is spread over those that follow."""

import numpy as np
from scipy.linalg.lapack import dtrtri  # pyright: ignore[reportAttributeAccessIssue]


def inverse_factor(gram: np.ndarray) -> np.ndarray:
    """The upper triangular U (F, F) with UᵀU = gram⁻¹, of a positive definite gram (F, F).

    From a Cholesky factor of the Gram matrix read backwards, which is inverted: a quarter of the
    work of inverting the matrix. Raises LinAlgError for a matrix that is not positive definite.
    """
    lower = np.linalg.cholesky(gram[::-1, ::-1])
    return dtrtri(lower, lower=1)[0][::-1, ::-1]
