"""Compare what VBC has with what is loaded: counts first, then ids; load what is missing, mark what is gone.

`verify` is the public function; `lists`, `compare` and `repair` are its steps, in that order.
"""
