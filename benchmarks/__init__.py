"""The named benchmarks, each a frozen spec."""
