"""The `suite-bench` command line."""
