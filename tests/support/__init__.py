"""What tests share: builders, drivers, stand-ins, ways to wait."""
