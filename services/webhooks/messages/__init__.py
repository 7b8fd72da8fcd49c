"""What is sent: the bodies of messages, rendered, signed, with the receiver's headers."""
