"""The command line of the suite: parse, call the library once, print."""
