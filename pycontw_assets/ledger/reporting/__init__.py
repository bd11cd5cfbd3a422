"""Facts kept for people: open problems and sent alerts, figures of the sale, buyers mail cannot reach."""
