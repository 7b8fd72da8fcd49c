"""Third-party applications as every service knows them: what is stored, and how their tokens are verified."""
