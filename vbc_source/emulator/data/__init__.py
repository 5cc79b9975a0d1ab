"""Generated accounts, users, recordings, jobs and audio files, held in memory.

Knows nothing about HTTP responses or faults.
"""
