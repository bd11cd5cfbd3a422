"""The invitation mail: its words in ``invitation.html``, and how they become a versioned template."""
