"""Codec for Consul's JSON: base structs, durations, and decoding of bodies."""
