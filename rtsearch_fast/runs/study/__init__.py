"""Studies: methods compared over problems, budgets, seeds and settings, at equal tokens."""
