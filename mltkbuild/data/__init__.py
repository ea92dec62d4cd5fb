"""Samples: what a loader gives, images and audio, prepared once and drawn in batches."""
