"""How each miniature checkpoint was trained. Nothing in `tutorial_utils` imports from here."""
