"""Load a long span in windows, side by side where the destination allows it.

`backfill` has the steps: prepare, plan, finish; `window_load` loads one window, or many in processes.
"""
