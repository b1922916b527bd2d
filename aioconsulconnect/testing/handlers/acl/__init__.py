"""The handlers of `/v1/acl`: policies, roles and tokens."""
