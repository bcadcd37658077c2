"""Learned dynamics as environments."""
