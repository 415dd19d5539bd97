"""What is good: reward models, checks, judges and functions of one's own, and their weighted sum."""
