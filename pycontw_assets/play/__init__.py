"""The demo, the drill and the development server: everything that plays with invented buyers."""
