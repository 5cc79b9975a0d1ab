"""Delete old recordings at VBC, each proven to be archived first."""
