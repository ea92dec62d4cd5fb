"""Bad specs and bad data, and good ones of every form, with real workers: one clear error, or an archive."""
