"""One file a method, and the registry that finds them."""
