"""What runs keep beside tables, and what it adds up to: comparisons, figures, films."""
