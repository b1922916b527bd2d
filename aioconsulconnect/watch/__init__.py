"""Watches: live reads of Consul, from blocking queries to async iterators."""
