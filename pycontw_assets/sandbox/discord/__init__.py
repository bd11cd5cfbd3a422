"""A simulated Discord guild: invites, members, roles, and the part of the API that a bot uses."""
