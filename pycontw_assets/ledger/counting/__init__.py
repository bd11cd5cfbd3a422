"""What was counted over very many rows, kept until they change."""
