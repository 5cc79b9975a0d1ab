"""Delete old recordings at VBC and in the archive.

A recording is deleted at VBC only if its file in the bucket is verified right before, and it is not on legal
hold. A policy says by rules what is deleted where; a plan of it is made first, and then applied as it is.
"""
