"""The members of each kind of configuration entry, and the versions that have them."""
