"""Methods carried out by JAX, PyTorch and NumPy."""
