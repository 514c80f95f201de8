"""Classes, probabilities, operating points and numbers."""
