"""What travels: msgspec structs for Consul's JSON, one module per resource."""
