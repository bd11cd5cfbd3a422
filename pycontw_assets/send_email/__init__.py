"""Stage 5, Klaviyo: the template, the ticket-holder list, and the campaigns that invite newcomers."""
