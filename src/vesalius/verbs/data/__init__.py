"""Import, validate, describe, de-identify, split, convert and simulate data."""
