"""The stages: their table, and one file a stage, which takes what its body needs from spec, data and artifacts."""
