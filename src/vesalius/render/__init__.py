"""What a person sees: display windows, overlays, heat maps, charts and pages."""
