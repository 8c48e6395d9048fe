"""Options that several verbs share, and what is made of them."""
