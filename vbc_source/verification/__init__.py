"""Compare what VBC has with what is loaded, and repair what differs."""
