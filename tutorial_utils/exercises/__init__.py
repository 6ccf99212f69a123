"""Exercises of each lesson: what a learner writes is tried at once, and a wrong answer is told where to look."""
