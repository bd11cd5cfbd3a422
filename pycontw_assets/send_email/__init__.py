"""Stage 5: Klaviyo, from the template over the ticket-holder list to the campaign that invites newcomers."""
