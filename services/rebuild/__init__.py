"""``kith rebuild``: a projection built anew beside the live one, compared with it, switched to, dropped."""
