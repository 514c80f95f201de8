"""What all systems share: recipe, claims, catalogue, results, conformance."""
