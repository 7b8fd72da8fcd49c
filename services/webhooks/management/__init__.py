"""What the API manages: endpoints, their secrets, deliveries, retries and replays."""
