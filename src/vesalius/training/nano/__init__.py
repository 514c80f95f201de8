"""How nano, the embedded model, is made and measured."""
