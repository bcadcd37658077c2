"""What results add up to: scores of a sweep, comparisons, figures, films."""
