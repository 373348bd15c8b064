"""Who may call, and how much is worked on at once: tokens, TLS, limits, the audit log, and the gate."""
