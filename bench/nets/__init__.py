"""A module for each library, with whole nets in its best form.

Nets are dense, relu between layers and softmax at the end; `weights` is a tuple of
pairs, kernel (in x out) and bias. Each function returns a call without arguments, which
is timed; None means that the library has no such thing.
"""
