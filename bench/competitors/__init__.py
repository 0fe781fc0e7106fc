"""What people use today, each doing the same work on the same hosts: `tools` says how each one is started."""
