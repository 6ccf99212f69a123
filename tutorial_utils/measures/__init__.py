"""How good are generated pictures and clips? Numbers that a small judge can tell."""
