"""Datasets below their one door, ``suite.datasets``: files, cards, what makes them."""
