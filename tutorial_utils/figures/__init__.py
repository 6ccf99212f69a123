"""What a lesson shows: figures, animations and live controls, always of the same size."""
