"""Structs of config entries, and of the discovery chain that Consul compiles from them."""
