"""Archive the audio of loaded recordings in a folder or an object store.

Every file is verified before it is stored; the table `recording_audio` records the result.
"""
