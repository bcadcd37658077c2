"""Wrappers for single and vector environments; numpy and gymnasium only."""
