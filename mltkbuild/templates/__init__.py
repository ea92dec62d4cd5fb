"""Files of a new workspace."""
