"""The protocol of one watch, without I/O: time and randomness are passed in."""
