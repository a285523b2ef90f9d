"""Who may do what: keys, sessions, roles, limits, and the audit log that says who did."""
