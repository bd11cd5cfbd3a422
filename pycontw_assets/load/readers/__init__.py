"""Tables and views for analysts, made from the attendee tables: nothing in them was read anywhere else."""
