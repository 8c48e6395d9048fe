"""What reads slices from what a person gives: a module a form. Values in, slice tables out."""
