"""Comparison of the code with the theory: exact gradients, and the bias and variance of estimators."""

import lazy_loader

# __init__.pyi lists the names; each is imported on first use, because exact gradients need no algorithms and no scipy
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
