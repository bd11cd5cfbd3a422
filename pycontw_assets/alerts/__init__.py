"""Messages to organisers: alerts about open problems, the daily sales report; and the heartbeat."""
