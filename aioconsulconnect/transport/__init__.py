"""Transport of one HTTP call: from a request as data to a value or an error."""
