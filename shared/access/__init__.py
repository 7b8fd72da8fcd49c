"""Access control: authentication, scopes, masks, and the audit of what was shown."""
