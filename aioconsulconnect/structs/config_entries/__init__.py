"""Config entries of every kind, and the discovery chain that Consul compiles from them."""
