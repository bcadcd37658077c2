"""What is behind ``suite.datasets``: files, cards, names, collecting."""
