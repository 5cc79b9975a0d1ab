"""Archive audio files in object storage, each verified before it is stored."""
