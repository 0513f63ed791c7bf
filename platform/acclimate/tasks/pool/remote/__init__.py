"""Task pools in an object store: built in shards, read by range through a cache of each node."""
