"""A build as people see it: one session, its progress, its text."""
