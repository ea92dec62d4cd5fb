"""Training: what is asked of Keras' fit, checkpoints of everything, and the files that it leaves."""
