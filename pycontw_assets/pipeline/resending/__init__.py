"""Send one person's invitation once more, because somebody asked for it. Every way of sending is a module."""
