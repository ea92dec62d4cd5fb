"""Public data sets: downloaded once, checked, and kept in the workspace's `datasets/` or where `MLTK_DATASETS` says."""
