"""Archive audio from export jobs: VBC packs many recordings into a zip, which takes few requests.

Each member of a zip is matched to a loaded recording and verified like a single download.
"""
