"""What is dirty, in which order it is brought up to date, and why."""
