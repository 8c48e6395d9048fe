"""Options that several verbs share, and the values made from them."""
