"""Read one list: its pages until they add up, side by side with other lists.

`window_reader` proves a window complete; what never adds up is one of the `known_gaps`.
"""
