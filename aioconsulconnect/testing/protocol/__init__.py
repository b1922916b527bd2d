"""The conventions of Consul's HTTP interface, and the languages of filters and of ACL rules."""
