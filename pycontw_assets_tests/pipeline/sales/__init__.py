"""Parts of a random sale that have a world of their own: the guild, the spaces of the venue, letters to everybody."""
