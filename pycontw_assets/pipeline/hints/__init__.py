"""What a hint of KKTIX's webhook leads to: an early look at the events that it is about. Polls stay the truth."""
