"""Agents: Stable-Baselines3 citizens and the strategies handed to them."""
