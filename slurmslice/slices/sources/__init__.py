"""Input forms of slices, one module each. ``registry`` lists them; the other modules help them."""
