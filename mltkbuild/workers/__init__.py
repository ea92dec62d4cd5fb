"""Where a stage runs: processes that are warm, and what they run."""
