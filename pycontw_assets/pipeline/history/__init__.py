"""Former editions: the imports of their exports. Nothing here lets anybody in or mails anybody."""
