"""Holds the lake and the stream against their source, bucket by bucket, and lands what differs."""
