"""What a poll does about Discord."""
