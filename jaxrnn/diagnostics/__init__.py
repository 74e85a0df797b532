"""Measurements that tell how a recurrent network is doing.

matrices.py   from its parameters: spectral norm, orthogonality
"""

from jaxrnn.diagnostics.matrices import orthogonality_error, recurrent_diagnostics, spectral_norm

__all__ = ["orthogonality_error", "recurrent_diagnostics", "spectral_norm"]
