"""The box office: one page over the simulated services, and the calls behind its buttons."""
