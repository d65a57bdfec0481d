"""The recipe of a run: its settings, its file, and the recipes that ship with raynas."""
