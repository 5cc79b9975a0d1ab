"""Read one list: its pages until they add up, side by side with other lists.

`window_attempt` judges the pages of a window, `window_reader` reads it until they add up; what never does is
one of the `known_gaps`.
"""
