"""What lies on the disk: digests, records, the workspace's folders, and publishing that a kill can't tear."""
