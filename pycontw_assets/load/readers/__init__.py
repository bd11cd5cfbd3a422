"""Views for people who read the tables: plain SQL, one file per reader."""
