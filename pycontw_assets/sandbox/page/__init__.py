"""The box office: a page over the simulated services, its view of the world, and its control API."""
