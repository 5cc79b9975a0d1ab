"""Delete old recordings at VBC.

A recording is deleted only if its file in the bucket is verified right before, and it is not on legal hold.
"""
