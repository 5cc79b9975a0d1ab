"""Load a long span in windows, side by side where the destination allows it."""
