"""A spec's code at work: loaded from a snapshot, watched for what it reads."""
